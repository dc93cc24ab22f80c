/*-------------------------------------------------------------------------
 *
 * backlog.c
 *	  What is due in the journal, and the pace at which it is taken on.
 *
 * Each server has a lane: a short list of queued payments read ahead, one of
 * questions, and what slows it down.  The journal is looked at when somebody has
 * committed something, when a lane has run dry, when the next row is due, and
 * every few seconds in any case, since nobody tells of COMMIT PREPARED.  A look
 * that took long is not repeated soon, so that a journal full of rows that
 * cannot be helped costs a tenth of the worker's time at most.
 *
 * The lists are hints.  Whether a row is still as it was is checked when it is
 * claimed (journal.c) or asked about (verdict.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "backlog.h"
#include "credential.h"
#include "fence.h"
#include "pace.h"
#include "place.h"
#include "state.h"
#include "statement.h"

/* Rows read ahead for each server. */
#define READ_AHEAD			512

/* So many servers take turns. */
#define MAX_LANES			256

/* How often the journal is looked at in any case, in milliseconds. */
#define IDLE_POLL_MS		1000
#define BUSY_POLL_MS		5000

/* A look that is not quick may take this part of the time. */
#define LOOK_SHARE			10
#define QUICK_LOOK_US		3000

/* What the provider is given when it says "too many", in milliseconds. */
#define REST_MS				60000

/* Pause of a lane whose payments cannot leave, doubling, in milliseconds. */
#define BACKOFF_MIN_MS		1000
#define BACKOFF_MAX_MS		60000

typedef struct ReadAhead
{
	DpAsk	   *asks;
	int			count;
	int			next;
	uint64		epoch;			/* of the journal, when it was read last */
	TimestampTz from;			/* where the journal is to be read on; 0: its start */
	TimestampTz not_before;		/* when it may be read again */
} ReadAhead;

typedef struct Lane
{
	Oid			server;			/* hash key */
	bool		seen;			/* by the last look */
	ReadAhead	queue;
	ReadAhead	questions;
	uint64		served;			/* when it was its turn last, as a number */
	int			payments_out;	/* of the queue */
	int			questions_out;
	int			max_in_flight;
	int			backoff_ms;		/* 0: payments leave */
	TimestampTz backoff_until;
	TimestampTz rest_until;
} Lane;

static MemoryContext backlog_context = NULL;
static HTAB *lanes = NULL;
static MemoryContext news_context = NULL;
static List *news = NIL;		/* of DpNews, not committed yet */
static int64 last_verdict = -1; /* the event that was looked at last; -1: none */
static bool poked = false;

static uint64 epoch = 1;		/* counts what may have changed the journal */
static uint64 looked_epoch = 0; /* of the last look */
static TimestampTz look_at = 0;	/* when to look in any case */
static TimestampTz not_before = 0;	/* but never before: the last look failed */
static TimestampTz expire_at = 0;
static TimestampTz empty_not_before = 0;	/* when to look whether all is empty */
static bool empty = true;		/* nothing is open at all */
static int	queue_length = 0;

/* Get ready, once in the worker's life. */
void
dp_backlog_init(void)
{
	HASHCTL		control = {0};

	backlog_context = AllocSetContextCreate(TopMemoryContext, "digipay backlog",
											ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Lane);
	control.hcxt = backlog_context;
	lanes = hash_create("digipay lanes", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	news_context = AllocSetContextCreate(backlog_context, "digipay news",
										 ALLOCSET_DEFAULT_SIZES);
}

/* A server's lane; made when it is met first. */
static Lane *
get_lane(Oid server)
{
	bool		found;
	Lane	   *lane = hash_search(lanes, &server, HASH_ENTER, &found);

	if (!found)
	{
		memset(lane, 0, sizeof(Lane));
		lane->server = server;
		lane->max_in_flight = 1;
	}
	return lane;
}

/* ----------
 * Looking
 * ----------
 */

/* Somebody has committed something. */
void
dp_backlog_changed(void)
{
	epoch++;
}

/* What was read ahead is not right any more. */
void
dp_backlog_forget(void)
{
	HASH_SEQ_STATUS scan;
	Lane	   *lane;

	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
		lane->queue.count = lane->questions.count = 0;
	epoch++;
}

/* A session has committed something, and says so. */
void
dp_backlog_poked(void)
{
	epoch++;
	poked = true;
}

/* Is the list used up? */
static bool
is_dry(const ReadAhead *list)
{
	return list->next >= list->count;
}

/* When should the list be read again?  DT_NOEND: not before something happens. */
static TimestampTz
list_due(const ReadAhead *list)
{
	if (!is_dry(list) || (list->epoch == epoch && list->from == 0))
		return DT_NOEND;
	return list->not_before;
}

/* When is the next look due? */
static TimestampTz
next_look(void)
{
	TimestampTz due = look_at;
	HASH_SEQ_STATUS scan;
	Lane	   *lane;

	/* a server may have become known */
	if (looked_epoch == 0)
		return not_before;
	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
	{
		due = Min(due, list_due(&lane->queue));
		due = Min(due, list_due(&lane->questions));
	}
	if (poked || (looked_epoch != epoch && hash_get_num_entries(lanes) == 0))
		due = 0;
	return Max(due, not_before);
}

/* Is it time to look at the journal? */
bool
dp_backlog_is_due(void)
{
	return dp_fence()->state == DP_FENCE_OPEN && GetCurrentTimestamp() >= next_look();
}

/* Fill a list with the rows of the last statement. */
static void
take_rows(ReadAhead *list, Lane *lane, DpCommand command, uint64 found)
{
	TimestampTz from = list->from;

	if (list->asks == NULL)
		list->asks = MemoryContextAllocZero(backlog_context, READ_AHEAD * sizeof(DpAsk));
	list->next = 0;
	list->count = 0;
	list->from = 0;				/* the end is reached, unless there is more */
	for (uint64 i = 0; i < Min(found, READ_AHEAD); i++)
	{
		DpAsk	   *ask = &list->asks[list->count];
		char	   *text;

		dp_result_row(i);
		memset(ask, 0, sizeof(*ask));
		ask->command = command;
		ask->server = lane->server;
		strlcpy(ask->ref_id, dp_result_text(1), sizeof(ask->ref_id));
		strlcpy(ask->code, dp_result_text(2), sizeof(ask->code));
		strlcpy(ask->customer_no, dp_result_text(3), sizeof(ask->customer_no));
		ask->testing = dp_result_bool(4);
		text = dp_result_text(5);
		namestrcpy(&ask->requested_by, text != NULL ? text : "");
		if (command == DP_PAY)
		{
			text = dp_result_text(6);
			strlcpy(ask->max_price, text != NULL ? text : "", sizeof(ask->max_price));
			/* after a take-over: ask whether somebody else has paid it */
			if (dp_result_bool(7))
			{
				ask->command = DP_STATUS;
				ask->refresh = true;
			}
		}
		list->count++;
		/* what lies before has been read: it would be passed over again */
		if (found >= READ_AHEAD)
			list->from = dp_result_time(8);
	}
	/* so many of the same time that none of them can be helped: pass them over */
	if (list->from != 0 && list->from == from)
		list->from++;
}

/* Where a list is to be read on. */
static TimestampTz
start_of(const ReadAhead *list)
{
	return list->from != 0 ? list->from : DT_NOBEGIN;
}

/* Read ahead in one server's queue. */
static void
look_at_queue(Lane *lane, const DpAccount *account)
{
	const DpFence *fence = dp_fence();
	DpParams	params = {0};

	dp_param_name(&params, account->server_name);
	dp_param_text(&params, account->account);
	dp_param(&params, UUIDPGetDatum(&fence->origin));
	dp_param(&params, Int32GetDatum(READ_AHEAD));
	dp_param(&params, BoolGetDatum(fence->ask_first));
	dp_param(&params, TimestampTzGetDatum(fence->since));
	dp_param(&params, TimestampTzGetDatum(start_of(&lane->queue)));
	take_rows(&lane->queue, lane, DP_PAY, dp_run(DP_SQL_DUE_IN_QUEUE, &params));
}

/*
 * Read ahead in what one server is to be asked about: its own payments, and its
 * account's where the server that they were made through is gone.
 */
static void
look_at_questions(Lane *lane, const DpAccount *account)
{
	DpParams	params = {0};

	dp_param_text(&params, account->account);
	dp_param(&params, UUIDPGetDatum(dp_fence_origin()));
	dp_param(&params, Int32GetDatum(account->status_interval));
	dp_param(&params, Int32GetDatum(READ_AHEAD));
	dp_param_name(&params, account->server_name);
	dp_param(&params, TimestampTzGetDatum(start_of(&lane->questions)));
	take_rows(&lane->questions, lane, DP_STATUS, dp_run(DP_SQL_DUE_QUESTIONS, &params));
}

/* Remember what became final, until that is committed. */
static void
add_news(const char *server, const char *ref_id, DpState state)
{
	MemoryContext old = MemoryContextSwitchTo(news_context);
	DpNews	   *item = palloc(sizeof(DpNews));

	item->server = pstrdup(server);
	item->ref_id = pstrdup(ref_id);
	item->state = state;
	news = lappend(news, item);
	MemoryContextSwitchTo(old);
}

/*
 * Find what sessions have cancelled or settled in transactions of their own,
 * which they cannot tell of themselves.  By the events that they have written,
 * in order; one that is committed later than its successor is missed.
 */
static void
find_verdicts(void)
{
	DpParams	params = {0};
	uint64		found;

	poked = false;
	if (last_verdict < 0)
	{
		last_verdict = dp_run(DP_SQL_LAST_EVENT, NULL) > 0 ? dp_result_long(1) : 0;
		return;
	}
	dp_param(&params, Int64GetDatum(last_verdict));
	found = dp_run(DP_SQL_NEW_VERDICTS, &params);
	for (uint64 i = 0; i < found; i++)
	{
		DpState		state;

		dp_result_row(i);
		last_verdict = Max(last_verdict, dp_result_long(1));
		if (dp_state_from_name(dp_result_text(4), &state) && dp_state_is_final(state))
			add_news(dp_result_text(2), dp_result_text(3), state);
	}
}

/* Cancel what has waited too long in one server's queue. */
static void
expire(const DpAccount *account)
{
	DpParams	params = {0};
	uint64		found;

	dp_param_name(&params, account->server_name);
	dp_param(&params, UUIDPGetDatum(dp_fence_origin()));
	dp_param(&params, Int32GetDatum(account->queue_ttl));
	dp_param_text(&params, "it could not leave in time");
	dp_param(&params, BoolGetDatum(dp_fence()->ask_first));
	dp_param(&params, TimestampTzGetDatum(dp_fence()->since));
	found = dp_run(DP_SQL_EXPIRE, &params);
	for (uint64 i = 0; i < found; i++)
	{
		dp_result_row(i);
		add_news(account->server_name, dp_result_text(1), DP_CANCELLED);
	}
}

/*
 * Read a list again, if it is time; reader NULL is for one that stays empty.
 * Where that took long, since the journal is full of rows that are none of its,
 * it has to wait for its next turn.
 */
static void
read_list(ReadAhead *list, Lane *lane, const DpAccount *account,
		  void (*reader) (Lane *lane, const DpAccount *account))
{
	TimestampTz begun = GetCurrentTimestamp();
	TimestampTz ended;

	if (list_due(list) > begun)
		return;
	list->epoch = epoch;
	if (reader == NULL)
		return;
	reader(lane, account);
	ended = GetCurrentTimestamp();
	list->not_before = ended - begun < QUICK_LOOK_US ? 0 : ended + (ended - begun) * LOOK_SHARE;
}

/* Look at what is due for one server. */
static void
look_at_server(Oid server, bool expiring)
{
	DpAccount	account;
	DpProblem	problem;
	Lane	   *lane;

	if (!dp_account_load(server, false, &account, &problem))
		return;
	lane = get_lane(server);
	lane->seen = true;
	lane->max_in_flight = account.max_in_flight;
	dp_place_limit(server, account.max_in_flight);
	if (expiring)
		expire(&account);
	if (account.paused)
		lane->queue.count = lane->queue.next = 0;
	read_list(&lane->queue, lane, &account, account.paused ? NULL : look_at_queue);
	read_list(&lane->questions, lane, &account, look_at_questions);
}

/* Look at all servers. */
static void
look_at_servers(bool expiring)
{
	uint64		found = dp_run(DP_SQL_SERVERS, NULL);
	Oid		   *servers = palloc(Max(found, 1) * sizeof(Oid));
	HASH_SEQ_STATUS scan;
	Lane	   *lane;

	for (uint64 i = 0; i < found; i++)
	{
		bool		isnull;

		dp_result_row(i);
		servers[i] = DatumGetObjectId(dp_result(1, &isnull));
	}
	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
		lane->seen = false;
	for (uint64 i = 0; i < found; i++)
		look_at_server(servers[i], expiring);

	/* of a server that is gone, nothing is left to do */
	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
	{
		if (lane->seen)
			continue;
		lane->queue.count = lane->questions.count = 0;
		lane->queue.from = lane->questions.from = 0;
		lane->queue.epoch = lane->questions.epoch = epoch;
	}
}

/*
 * Every few seconds the journal is read from its start, since what was committed
 * late may have an early place, and a prepared transaction tells nobody.
 */
static void
read_from_start(void)
{
	HASH_SEQ_STATUS scan;
	Lane	   *lane;

	epoch++;
	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
		lane->queue.from = lane->questions.from = 0;
}

/* The lists need not be read, since there is nothing due. */
static void
nothing_to_read(void)
{
	HASH_SEQ_STATUS scan;
	Lane	   *lane;

	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
		lane->queue.epoch = lane->questions.epoch = epoch;
}

/* Is nothing open at all?  When is the first thing due? */
static bool
is_journal_empty(TimestampTz *first)
{
	TimestampTz begun = GetCurrentTimestamp();
	TimestampTz ended;
	bool		found = dp_run(DP_SQL_FIRST_DUE, NULL) > 0;

	*first = found ? dp_result_time(1) : 0;
	ended = GetCurrentTimestamp();
	empty_not_before = ended - begun < QUICK_LOOK_US ? 0 : ended + (ended - begun) * LOOK_SHARE;
	return !found;
}

/*
 * Look at the journal, in a transaction that the caller has begun.  Raises what
 * goes wrong; the next look is due a little later in any case.
 */
void
dp_backlog_look(void)
{
	TimestampTz begun = GetCurrentTimestamp();
	TimestampTz first = begun;
	TimestampTz next = 0;
	bool		in_time = begun >= expire_at;

	dp_backlog_told();
	not_before = TimestampTzPlusMilliseconds(begun, IDLE_POLL_MS);	/* should this fail */
	if (begun >= look_at)
		read_from_start();
	if (poked || last_verdict < 0 || in_time)
		find_verdicts();
	if (!dp_backlog_is_waiting() && begun >= empty_not_before)
		empty = is_journal_empty(&first);
	if (!empty && first <= begun)
		look_at_servers(in_time);
	if (!empty && dp_run(DP_SQL_NEXT_DUE, NULL) > 0)
		next = dp_result_time(1);
	if (in_time && !empty)
		queue_length = dp_run(DP_SQL_QUEUE_LENGTH, NULL) > 0 ? dp_result_int(1) : 0;
	if (empty)
		queue_length = 0;
	if (in_time)
	{
		TimestampTz ended = GetCurrentTimestamp();

		expire_at = Max(TimestampTzPlusMilliseconds(begun, BUSY_POLL_MS),
						ended + (ended - begun) * LOOK_SHARE);
	}
	if (begun >= look_at || empty)
		look_at = TimestampTzPlusMilliseconds(begun, empty ? IDLE_POLL_MS : BUSY_POLL_MS);
	if (next != 0 && next < look_at)
		look_at = next;
	if (empty || first > begun)
		nothing_to_read();
	looked_epoch = epoch;
	not_before = 0;
}

/*
 * The i-th payment that the last look has found to be final, or made so; NULL
 * behind the last.  For when the look has been committed.
 */
const DpNews *
dp_backlog_news(int i)
{
	return i < list_length(news) ? list_nth(news, i) : NULL;
}

/* These have been told of. */
void
dp_backlog_told(void)
{
	news = NIL;
	MemoryContextReset(news_context);
}

/* Is there a prepared transaction, which may have queued something? */
bool
dp_backlog_is_prepared(void)
{
	return dp_run(DP_SQL_PREPARED, NULL) > 0;
}

/* Is there nothing for us to do: nothing queued, pending or unknown? */
bool
dp_backlog_is_empty(void)
{
	if (dp_fence()->state != DP_FENCE_OPEN)
		return true;
	return empty && looked_epoch == epoch;
}

/* Payments that wait in the queue, as counted a few seconds ago. */
int
dp_backlog_queue_length(void)
{
	return queue_length;
}

/* ----------
 * Taking on
 * ----------
 */

/* May one more payment of this lane's queue leave now? */
static bool
payment_is_allowed(const Lane *lane)
{
	TimestampTz now;

	if (lane->backoff_ms == 0 && lane->rest_until == 0)
		return true;
	now = GetCurrentTimestamp();
	if (lane->rest_until > now || lane->backoff_until > now)
		return false;
	/* after failures, one shall find out whether it goes again */
	return lane->backoff_ms == 0 || lane->payments_out == 0;
}

/* Questions may take a quarter of a server's places. */
static bool
question_has_room(const Lane *lane)
{
	return lane->questions_out < Max(1, lane->max_in_flight / 4);
}

/* May the first of this list go now?  (after a take-over, a queue has questions) */
static bool
may_go(const Lane *lane, const ReadAhead *list)
{
	if (is_dry(list))
		return false;
	if (list->asks[list->next].command == DP_STATUS)
		return question_has_room(lane) && dp_pace_may_ask();
	return payment_is_allowed(lane);
}

/* Take on what this lane has, payments first, if it may go now. */
static bool
take_from_lane(Lane *lane, DpAsk *ask)
{
	ReadAhead  *list = may_go(lane, &lane->queue) ? &lane->queue :
		may_go(lane, &lane->questions) ? &lane->questions : NULL;

	if (list == NULL || !dp_place_is_free(lane->server))
		return false;
	*ask = list->asks[list->next++];
	if (ask->command == DP_STATUS)
	{
		dp_pace_asked();
		lane->questions_out++;
	}
	else
	{
		queue_length = Max(0, queue_length - 1);
		lane->payments_out++;
	}
	return true;
}

/* The lane that was served longest ago comes first. */
static int
compare_turns(const void *a, const void *b)
{
	uint64		left = (*(Lane *const *) a)->served;
	uint64		right = (*(Lane *const *) b)->served;

	return left < right ? -1 : left > right;
}

/*
 * The next payment or question that may be taken on; there is a place for it.
 * False if there is none at present.  Tell dp_backlog_done when it is over.
 */
bool
dp_backlog_next(DpAsk *ask)
{
	static uint64 turns = 0;
	Lane	   *waiting[MAX_LANES];
	int			count = 0;
	HASH_SEQ_STATUS scan;
	Lane	   *lane;

	if (dp_fence()->state != DP_FENCE_OPEN)
		return false;
	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
	{
		if (count < MAX_LANES && (!is_dry(&lane->queue) || !is_dry(&lane->questions)))
			waiting[count++] = lane;
	}
	if (count > 1)
		qsort(waiting, count, sizeof(Lane *), compare_turns);
	for (int i = 0; i < count; i++)
	{
		if (take_from_lane(waiting[i], ask))
		{
			waiting[i]->served = ++turns;
			return true;
		}
	}
	return false;
}

/* Has something been read ahead that waits for a place? */
bool
dp_backlog_is_waiting(void)
{
	HASH_SEQ_STATUS scan;
	Lane	   *lane;

	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
	{
		if (!is_dry(&lane->queue) || !is_dry(&lane->questions))
		{
			hash_seq_term(&scan);
			return true;
		}
	}
	return false;
}

/*
 * Milliseconds until something here may be done, -1 if only an event can change
 * that.
 */
long
dp_backlog_timeout(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due;
	HASH_SEQ_STATUS scan;
	Lane	   *lane;

	if (dp_fence()->state != DP_FENCE_OPEN)
		return -1;
	due = next_look();
	hash_seq_init(&scan, lanes);
	while ((lane = hash_seq_search(&scan)) != NULL)
	{
		TimestampTz wake = Max(lane->rest_until, lane->backoff_until);

		if (!is_dry(&lane->queue) && wake > now)
			due = Min(due, wake);
		if ((!is_dry(&lane->questions) || !is_dry(&lane->queue)) && !dp_pace_may_ask() &&
			question_has_room(lane) && dp_place_is_free(lane->server))
			due = Min(due, dp_pace_next_question());
	}
	return due <= now ? 0 : (long) ((due - now + 999) / 1000);
}

/* ----------
 * What became of it
 * ----------
 */

/* Something that dp_backlog_next has given out is over, whatever it was. */
void
dp_backlog_done(const DpAsk *ask)
{
	Lane	   *lane = get_lane(ask->server);

	if (ask->command == DP_PAY)
		lane->payments_out--;
	else
		lane->questions_out--;
}

/* A payment has left to that server. */
void
dp_backlog_left(Oid server)
{
	Lane	   *lane = get_lane(server);

	lane->backoff_ms = 0;
	lane->backoff_until = 0;
}

/* A queued payment could not leave: do not try with all the others, too. */
void
dp_backlog_could_not_leave(Oid server)
{
	Lane	   *lane = get_lane(server);
	TimestampTz now = GetCurrentTimestamp();

	if (lane->backoff_until > now)
		return;					/* it left before that was known */
	lane->backoff_ms = Min(Max(lane->backoff_ms * 2, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	lane->backoff_until = TimestampTzPlusMilliseconds(now, lane->backoff_ms);
}

/* The provider has said "too many". */
void
dp_backlog_rest(Oid server)
{
	get_lane(server)->rest_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), REST_MS);
}

/* Do payments to that server rest?  Until when? */
bool
dp_backlog_rests(Oid server, TimestampTz *until)
{
	Lane	   *lane = get_lane(server);

	*until = lane->rest_until;
	return lane->rest_until > GetCurrentTimestamp();
}
