/*
 * witness.c
 *		Does the journal know of a payment before it reaches us?  The only
 *		user of libpq.
 *
 * The promise under test is that no payment leaves before its intent is
 * committed.  So, before a pay-pasca is answered, it is looked up over a
 * connection of the double's own, which sees committed rows only, and must be
 * found in the state "sending".  Anything else is a complaint in the books.
 */
#include <ctype.h>
#include <pthread.h>
#include <string.h>

#include <libpq-fe.h>

#include "books.h"
#include "buffer.h"
#include "witness.h"

static pthread_mutex_t witness_mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *witness_conninfo;
static char *witness_query;
static PGconn *witness_conn;

/*
 * Remember where to look; the connection is opened by the first payment.
 * False when the table is not a plain name, with or without a schema.
 */
bool
witness_start(const char *conninfo, const char *table)
{
	Buffer		query = {0};
	const char *c;

	for (c = table; *c; c++)
	{
		if (!isalnum((unsigned char) *c) && *c != '_' && *c != '.')
			return false;
	}
	buffer_printf(&query, "SELECT state::text FROM %s WHERE ref_id = $1", table);
	witness_query = query.data;
	witness_conninfo = conninfo;
	return true;
}

/*
 * Open the connection.  Its statements are given two seconds, so that a lock
 * on the journal is a complaint and not the end of all answers.
 */
static void
open_connection(void)
{
	const char *keywords[] = {"fallback_application_name", "connect_timeout", "dbname", NULL};
	const char *values[] = {"provider witness", "5", witness_conninfo, NULL};

	if (witness_conn)
		PQfinish(witness_conn);
	witness_conn = PQconnectdbParams(keywords, values, 1);
	PQclear(PQexec(witness_conn, "SET statement_timeout = 2000"));
}

/*
 * Look the payment up; over a new connection when there is none or it broke.
 * Caller holds the mutex and clears the result.
 */
static PGresult *
look_up(const char *ref_id)
{
	PGresult   *result = NULL;
	int			attempt;

	for (attempt = 0; attempt < 2; attempt++)
	{
		if (witness_conn == NULL || PQstatus(witness_conn) != CONNECTION_OK)
			open_connection();
		PQclear(result);
		result = PQexecParams(witness_conn, witness_query, 1, NULL, &ref_id,
							  NULL, NULL, 0);
		if (PQstatus(witness_conn) == CONNECTION_OK)
			break;
	}
	return result;
}

/*
 * A pay-pasca arrived: complain unless the journal has exactly one row of it
 * and that says "sending".  Does nothing without --witness.
 */
void
witness_pay(const char *ref_id)
{
	PGresult   *result;

	if (witness_conninfo == NULL)
		return;
	pthread_mutex_lock(&witness_mutex);
	result = look_up(ref_id);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		const char *reason = PQerrorMessage(witness_conn);

		books_complain("pay-pasca for ref_id %s arrived while the journal could not be read: %.*s",
					   ref_id, (int) strcspn(reason, "\n"), reason);
	}
	else if (PQntuples(result) != 1)
		books_complain("pay-pasca for ref_id %s arrived while the journal says nothing of it (%d rows)",
					   ref_id, PQntuples(result));
	else if (strcmp(PQgetvalue(result, 0, 0), "sending") != 0)
		books_complain("pay-pasca for ref_id %s arrived while the journal says %s",
					   ref_id, PQgetvalue(result, 0, 0));
	PQclear(result);
	pthread_mutex_unlock(&witness_mutex);
}

/*
 * Close the connection.
 */
void
witness_stop(void)
{
	pthread_mutex_lock(&witness_mutex);
	if (witness_conn)
		PQfinish(witness_conn);
	witness_conn = NULL;
	pthread_mutex_unlock(&witness_mutex);
}
