/*-------------------------------------------------------------------------
 *
 * place.c
 *	  How many requests may be in flight, to each server and in all.
 *
 * A provider that is slow fills up its own places and no others', so payments
 * through another server go on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "guc.h"
#include "place.h"

typedef struct Places
{
	Oid			server;			/* hash key */
	int			taken;
	int			limit;
} Places;

static HTAB *servers = NULL;
static int	taken_in_all = 0;
static bool has_news = false;	/* a place may have become free */

/* Get ready, once in the worker's life. */
void
dp_place_init(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Places);
	control.hcxt = TopMemoryContext;
	servers = hash_create("digipay places", 16, &control,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* A server's places: one, until its limit has been read. */
static Places *
get_places(Oid server)
{
	bool		found;
	Places	   *places = hash_search(servers, &server, HASH_ENTER, &found);

	if (!found)
	{
		places->taken = 0;
		places->limit = 1;
	}
	return places;
}

/* Is there a place for one more request to that server? */
bool
dp_place_is_free(Oid server)
{
	const Places *places = get_places(server);

	return taken_in_all < dp_guc_max_connections && places->taken < places->limit;
}

/* One more request to this server is on its way. */
void
dp_place_take(Oid server)
{
	get_places(server)->taken++;
	taken_in_all++;
}

/* One less. */
void
dp_place_give_back(Oid server)
{
	get_places(server)->taken--;
	taken_in_all--;
	has_news = true;
}

/* What the server's option max_in_flight says now. */
void
dp_place_limit(Oid server, int max_in_flight)
{
	Places	   *places = get_places(server);

	if (places->limit != max_in_flight)
		has_news = true;
	places->limit = max_in_flight;
}

/* May a place have become free since this was asked last? */
bool
dp_places_news(void)
{
	bool		news = has_news;

	has_news = false;
	return news;
}

/* Requests in flight, to all servers. */
int
dp_places_taken(void)
{
	return taken_in_all;
}
