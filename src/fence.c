/*-------------------------------------------------------------------------
 *
 * fence.c
 *	  Whose queue this is.
 *
 * A file copy, a restored dump, a recovery to an earlier point, a promoted
 * standby and a logical subscriber all carry the same queue as the database
 * that they come from, and must not pay it a second time.  So the worker keeps
 * one row, not dumped, with a mark and the place that the mark serves.  Payments
 * carry the mark, and only those of our own are sent.  Where the row tells
 * another place, or there are payments and no row, the fence is up: nothing is
 * paid until somebody says by digipay_take_over() that the other place pays no
 * more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "fence.h"
#include "guc.h"
#include "objects.h"
#include "problem.h"
#include "statement.h"

/* After a take-over, new ref_ids are asked about first for so long. */
#define ASK_FIRST_MS	(24 * 3600 * 1000)

/* Columns of digipay_fence, in their order. */
enum
{
	COLUMN_ORIGIN = 2,
	COLUMN_SYSTEM,
	COLUMN_TIMELINE,
	COLUMN_DATABASE,
	COLUMN_DEVICE,
	COLUMN_INODE,
	COLUMN_SINCE,
	COLUMN_ASK_FIRST
};

/* A place that a queue can be in. */
typedef struct Place
{
	int64		system;			/* system identifier, its bits as a signed number */
	int32		timeline;
	Oid			database;
	int64		device;			/* of the data directory's PG_VERSION */
	int64		inode;
} Place;

static DpFence known = {.state = DP_FENCE_UNMADE};
static DpFence before;			/* a take-over that is not committed yet */
static bool taking_over = false;

/*
 * Where we are.  The file is looked at once in a process: it cannot be another
 * one while the server runs.
 */
static void
find_place(Place *place)
{
	static struct stat st;
	static bool known_file = false;

	/* the working directory of every server process is the data directory */
	if (!known_file && stat("PG_VERSION", &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", "PG_VERSION")));
	known_file = true;
	place->system = (int64) GetSystemIdentifier();
	place->timeline = (int32) dp_current_timeline();
	place->database = MyDatabaseId;
	place->device = (int64) st.st_dev;
	place->inode = (int64) st.st_ino;
}

/* A column of the fence's row that is never NULL. */
static Datum
column(TupleTableSlot *slot, int number)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, number, &isnull);

	if (isnull)
		elog(ERROR, "column %d of digipay_fence is null", number);
	return value;
}

/* Hold the row against the place where we are. */
static void
judge(TupleTableSlot *slot, DpFence *fence)
{
	Place		here;
	int64		system = DatumGetInt64(column(slot, COLUMN_SYSTEM));
	int32		timeline = DatumGetInt32(column(slot, COLUMN_TIMELINE));
	Oid			database = DatumGetObjectId(column(slot, COLUMN_DATABASE));
	const char *what = NULL;

	memcpy(&fence->origin, DatumGetUUIDP(column(slot, COLUMN_ORIGIN)), sizeof(pg_uuid_t));
	fence->since = DatumGetTimestampTz(column(slot, COLUMN_SINCE));
	fence->ask_first = DatumGetBool(column(slot, COLUMN_ASK_FIRST));
	find_place(&here);
	if (system != here.system)
		what = "it was made in another database cluster";
	else if (database != here.database)
		what = "it was made in another database of this cluster";
	else if (timeline != here.timeline)
		what = "this server has been promoted or recovered to an earlier point since";
	else if (DatumGetInt64(column(slot, COLUMN_DEVICE)) != here.device ||
			 DatumGetInt64(column(slot, COLUMN_INODE)) != here.inode)
		what = "this data directory is a copy, or was moved to another file system";
	fence->state = what == NULL ? DP_FENCE_OPEN : DP_FENCE_UP;
	fence->promoted = system == here.system && database == here.database &&
		here.timeline > timeline;
	if (what != NULL)
		strlcpy(fence->reason, what, sizeof(fence->reason));
}

/*
 * Read the fence's row, as last committed, and what it means.  In a
 * transaction.  Whether there are payments without a row is not looked at.
 */
void
dp_fence_read(DpFence *fence)
{
	const DpObjects *objects = dp_objects();
	Relation	table;
	TupleTableSlot *slot;
	TableScanDesc scan;
	Snapshot	snapshot;

	memset(fence, 0, sizeof(*fence));
	fence->state = DP_FENCE_UNMADE;
	if (objects == NULL)
		return;
	table = table_open(objects->fence, AccessShareLock);
	slot = table_slot_create(table, NULL);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(table, snapshot, 0, NULL);
	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		judge(slot, fence);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, AccessShareLock);
}

/* Word PY004: the fence is up. */
void
dp_fence_problem(const DpFence *fence, DpProblem *problem)
{
	dp_problem_set(problem, DP_ERRCODE_PAUSED, "the fence is up: this queue may be another database's");
	dp_problem_detail(problem, "The mark of this queue does not fit: %s.  Nothing was sent.",
					  fence->reason);
	dp_problem_hint(problem, "When the other database pays no more, call digipay_take_over() here.");
}

/* From now on this is the fence, for this process's statements. */
void
dp_fence_adopt(const DpFence *fence)
{
	known = *fence;
}

/* The mark that our payments carry. */
pg_uuid_t *
dp_fence_origin(void)
{
	return &known.origin;
}

/* The fence, as this process has found or made it. */
const DpFence *
dp_fence(void)
{
	return &known;
}

/* Is it so soon after a take-over that every new ref_id is asked about first? */
bool
dp_fence_asks_first(void)
{
	return known.ask_first &&
		!TimestampDifferenceExceeds(known.since, GetCurrentTimestamp(), ASK_FIRST_MS);
}

/*
 * Make the mark of this place, or replace it; in the worker's transaction.  Where
 * the queue is ours already the mark stays: transactions that are still open
 * have queued payments under it.
 */
static void
set_mark(bool ask_first)
{
	DpParams	params = {0};
	Place		here;
	bool		isnull;
	Datum		origin;

	find_place(&here);
	dp_param(&params, Int64GetDatum(here.system));
	dp_param(&params, Int32GetDatum(here.timeline));
	dp_param(&params, ObjectIdGetDatum(here.database));
	dp_param(&params, Int64GetDatum(here.device));
	dp_param(&params, Int64GetDatum(here.inode));
	dp_param(&params, BoolGetDatum(ask_first));
	if (known.state == DP_FENCE_OPEN)
		dp_param(&params, UUIDPGetDatum(&known.origin));
	else
		dp_param_null(&params);
	if (dp_run(DP_SQL_SET_FENCE, &params) == 0)
		elog(ERROR, "could not make the mark of this database");
	origin = dp_result(1, &isnull);
	if (isnull)
		elog(ERROR, "the mark of this database is null");
	memset(&known, 0, sizeof(known));
	known.state = DP_FENCE_OPEN;
	memcpy(&known.origin, DatumGetUUIDP(origin), sizeof(pg_uuid_t));
	known.ask_first = ask_first;
	known.since = GetCurrentTimestamp();
}

/*
 * Make this place's queue ours: a new mark, for the fence and for every payment
 * that may still be sent or asked about.  Whatever was in flight elsewhere is
 * unknown now.  In the worker's transaction; should that fail, call
 * dp_fence_forget_take_over.
 */
void
dp_fence_take_over(const char *role, bool lost_nothing)
{
	DpParams	params = {0};

	if (!taking_over)
		before = known;
	taking_over = true;
	set_mark(!lost_nothing);
	dp_param(&params, UUIDPGetDatum(&known.origin));
	dp_param_text(&params, "it was on its way from another database when this one took over");
	dp_param_text(&params, role);
	dp_param_text(&params, lost_nothing ? "; nothing was lost" : "");
	dp_run(DP_SQL_TAKE_OVER, &params);
}

/* A transaction has failed, and with it the take-over in it, if there was one. */
void
dp_fence_forget_take_over(void)
{
	if (taking_over)
		known = before;
	taking_over = false;
}

/* The transaction is committed. */
void
dp_fence_keep_take_over(void)
{
	taking_over = false;
}

/*
 * At the worker's start, in its transaction: find out whether the queue is ours.
 * A queue without a mark is ours if it is empty.
 */
void
dp_fence_open(void)
{
	DpFence		fence;

	dp_fence_read(&fence);
	if (fence.state == DP_FENCE_UNMADE)
	{
		if (dp_run(DP_SQL_FIND_ANY_PAYMENT, NULL) == 0)
		{
			set_mark(false);
			return;
		}
		fence.state = DP_FENCE_UP;
		strlcpy(fence.reason, "there are payments, but no mark; they were restored from a dump",
				sizeof(fence.reason));
	}
	dp_fence_adopt(&fence);
	if (fence.state == DP_FENCE_UP && fence.promoted && dp_guc_take_over_on_promotion)
	{
		dp_fence_take_over("digipay.take_over_on_promotion", false);
		ereport(LOG,
				(errmsg("digipay has taken over the queue after a promotion; payments are asked about before they are sent")));
	}
	else if (fence.state == DP_FENCE_UP)
		ereport(WARNING,
				(errcode(DP_ERRCODE_PAUSED),
				 errmsg("digipay pays nothing: this queue may be another database's"),
				 errdetail("The mark of this queue does not fit: %s.", fence.reason),
				 errhint("When the other database pays no more, call digipay_take_over().")));
}
