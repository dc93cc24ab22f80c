/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  Sessions that wait until a payment is final, and others who want to hear
 *	  of it.
 *
 * Sessions in digipay_wait are kept here and woken after the outcome's commit;
 * they look for themselves, so one time too often does no harm.  Everybody else
 * can LISTEN.  The notices are sent in a transaction of their own, since a full
 * notification queue must not keep an outcome from being written; they may be
 * lost, and are a hint only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "compat.h"
#include "lib/stringinfo.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "state.h"
#include "statement.h"
#include "watch.h"

#define CHANNEL		"digipay"

/* How often waiting sessions are checked, in milliseconds. */
#define SWEEP_MS	1000

/* Sessions that wait for payments with this ref_id. */
typedef struct Watch
{
	char		ref_id[DP_REF_ID_MAX + 1];	/* hash key */
	int			count;
	int			room;
	DpWaiter   *waiters;
} Watch;

static MemoryContext watch_context = NULL;
static MemoryContext news_context = NULL;
static HTAB *watches = NULL;
static List *news = NIL;		/* payloads */

/* Get ready, once in the worker's life. */
void
dp_watch_init(void)
{
	HASHCTL		control = {0};

	watch_context = AllocSetContextCreate(TopMemoryContext, "digipay watches",
										  ALLOCSET_DEFAULT_SIZES);
	news_context = AllocSetContextCreate(TopMemoryContext, "digipay news",
										 ALLOCSET_DEFAULT_SIZES);
	control.keysize = DP_REF_ID_MAX + 1;
	control.entrysize = sizeof(Watch);
	control.hcxt = watch_context;
	watches = hash_create("digipay watches", 64, &control,
						  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* A session waits for payments with this ref_id. */
void
dp_watch_add(const char *ref_id, const DpWaiter *waiter)
{
	bool		found;
	Watch	   *watch = hash_search(watches, ref_id, HASH_ENTER, &found);

	if (!found)
	{
		watch->count = 0;
		watch->room = 4;
		watch->waiters = MemoryContextAlloc(watch_context, watch->room * sizeof(DpWaiter));
	}
	if (watch->count == watch->room)
	{
		watch->room *= 2;
		watch->waiters = repalloc(watch->waiters, watch->room * sizeof(DpWaiter));
	}
	watch->waiters[watch->count++] = *waiter;
}

/* Nobody waits for this ref_id any more. */
static void
forget(Watch *watch)
{
	pfree(watch->waiters);
	(void) hash_search(watches, watch->ref_id, HASH_REMOVE, NULL);
}

/*
 * A payment has become final, and that is committed, or about to be: wake who
 * waits for it, and remember it for the others.
 */
void
dp_watch_final(const char *server, const char *ref_id, DpState state)
{
	MemoryContext old = MemoryContextSwitchTo(news_context);
	Watch	   *watch = hash_search(watches, ref_id, HASH_FIND, NULL);
	DpAnswer	row = {.kind = DP_ANSWER_ROW};
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"server\":");
	escape_json(&payload, server);
	appendStringInfoString(&payload, ",\"ref_id\":");
	escape_json(&payload, ref_id);
	appendStringInfo(&payload, ",\"state\":\"%s\"}", dp_state_name(state));
	news = lappend(news, payload.data);
	MemoryContextSwitchTo(old);

	if (watch == NULL)
		return;
	for (int i = 0; i < watch->count; i++)
		dp_mailbox_reply(&watch->waiters[i], &row);
	forget(watch);
}

/* Is there anything to tell? */
bool
dp_watch_has_news(void)
{
	return news != NIL;
}

/* Send the notices.  What cannot be sent is lost, and logged once a minute. */
void
dp_watch_tell(void)
{
	static TimestampTz logged_at = 0;
	MemoryContext old = CurrentMemoryContext;

	PG_TRY();
	{
		ListCell   *cell;

		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		/* nothing depends on them, so they are not worth a flush */
		(void) set_config_option("synchronous_commit", "off", PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
		foreach(cell, news)
			Async_Notify(CHANNEL, lfirst(cell));
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(news_context);
		error = CopyErrorData();
		FlushErrorState();
		dp_transaction_abort();
		if (TimestampDifferenceExceeds(logged_at, GetCurrentTimestamp(), 60000))
		{
			logged_at = GetCurrentTimestamp();
			ereport(LOG,
					(errcode(error->sqlerrcode),
					 errmsg("digipay could not notify of payments that became final: %s",
							error->message)));
		}
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextReset(news_context);
	news = NIL;
}

/* Forget sessions that wait no more; now and then. */
void
dp_watch_sweep(void)
{
	static TimestampTz swept_at = 0;
	HASH_SEQ_STATUS scan;
	Watch	   *watch;
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(swept_at, now, SWEEP_MS))
		return;
	swept_at = now;
	hash_seq_init(&scan, watches);
	while ((watch = hash_seq_search(&scan)) != NULL)
	{
		int			kept = 0;

		for (int i = 0; i < watch->count; i++)
		{
			if (dp_mailbox_is_waiting(&watch->waiters[i]))
				watch->waiters[kept++] = watch->waiters[i];
		}
		watch->count = kept;
		if (kept == 0)
			forget(watch);
	}
}
