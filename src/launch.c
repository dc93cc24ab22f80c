/*-------------------------------------------------------------------------
 *
 * launch.c
 *	  Finding, starting and stopping this database's worker, from a session; and
 *	  starting those that preload asks for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "digipay.h"
#include "guc.h"
#include "launch.h"
#include "mailbox.h"
#include "worker.h"

/* How long a session waits for a worker before it gives up. */
#define START_TIMEOUT_MS	9000

/* How long to wait before another one is launched after one that ended. */
#define RELAUNCH_PAUSE_MS	100

/* How soon the postmaster starts a worker again that has died, in seconds. */
#define RESTART_SECONDS		1

/* How long after it made way for somebody a worker is started again. */
#define LATER_MS			3000

/* How long a session waits for a place among the background workers. */
#define NO_PLACE_MS			(1000 * RESTART_SECONDS + 500)

/* A worker that was asked for so recently, without waiting, may still come up. */
#define COMING_UP_MS		2000

/*
 * Ask the postmaster for a worker.  False when all of max_worker_processes are
 * in use.
 */
static bool
register_worker(Oid database, const char *name, bool at_start,
				BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	worker.bgw_main_arg = DP_WORKER_ARG(database, at_start);
	worker.bgw_notify_pid = at_start ? 0 : MyProcPid;
	strlcpy(worker.bgw_library_name, "digipay", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "digipay_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "digipay worker", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "digipay worker for database %s", name);
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/* Raise PY003: there is no worker, and nothing has been sent. */
static void
no_worker(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(DP_ERRCODE_NO_WORKER),
			 errmsg("the digipay worker could not be started"),
			 errdetail("%s  Nothing was sent.", detail),
			 errhint("%s", hint)));
}

/*
 * Launch a worker and wait until it can be attached to.  The launch lock is
 * held, so nobody else does the same.
 */
static void
launch_and_wait(void)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), START_TIMEOUT_MS);
	BackgroundWorkerHandle *handle = NULL;
	pid_t		pid;
	uint32		wait_event = dp_wait_event("DigipayWorkerStart");

	for (;;)
	{
		long		left;
		long		pause = 1000;

		if (dp_mailbox_attach())
			break;

		/*
		 * A worker that has stopped may just have found another one ending;
		 * start a new one, but not as fast as they can stop.  If it has failed,
		 * it keeps its place until the postmaster would start it again, and
		 * there are few places: give it up first.
		 */
		if (handle != NULL && GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED)
		{
			TerminateBackgroundWorker(handle);
			pfree(handle);
			handle = NULL;
			pause = RELAUNCH_PAUSE_MS;
		}
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (handle == NULL && pause > RELAUNCH_PAUSE_MS &&
			!register_worker(MyDatabaseId, get_database_name(MyDatabaseId), false, &handle))
		{
			/* one that has failed keeps its place until it would be started again */
			if (START_TIMEOUT_MS - left > NO_PLACE_MS)
				no_worker("All places for background workers are taken.",
						  "Increase max_worker_processes and restart the server.");
			pause = RELAUNCH_PAUSE_MS;
		}
		if (left <= 0)
		{
			if (handle != NULL)
				TerminateBackgroundWorker(handle);
			no_worker("It did not come up within nine seconds.",
					  "See the server's log for the reason.  If this transaction has created the extension, commit first.");
		}
		/* the postmaster signals starts and ends, the worker when it is ready */
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, pause), wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if (handle != NULL)
		pfree(handle);
}

/*
 * See to it that this session is attached to a worker that is alive; start one
 * if need be.  True if it had to be started.  Raises PY003 if there is none
 * after nine seconds.
 */
bool
dp_launch_ensure(void)
{
	LOCKTAG		tag;
	bool		launched;

	if (dp_mailbox_attach())
		return false;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, DP_LOCK_LAUNCH, DP_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	launched = !dp_mailbox_attach();
	if (launched)
		launch_and_wait();
	LockRelease(&tag, ExclusiveLock, false);
	return launched;
}

/*
 * See to it that there will be a worker, without waiting for it.  One too many
 * finds the other, and ends.  Where none can be had, what is queued waits for
 * the next call; that is worth a warning.
 */
void
dp_launch_soon(void)
{
	BackgroundWorkerHandle *handle;

	/* (one that is about to end cannot be attached to; its successor waits for it) */
	if (dp_mailbox_attach() || !dp_mailbox_may_launch(COMING_UP_MS))
		return;
	if (!register_worker(MyDatabaseId, get_database_name(MyDatabaseId), false, &handle))
		ereport(WARNING,
				(errcode(DP_ERRCODE_NO_WORKER),
				 errmsg("the digipay worker could not be started; queued payments wait"),
				 errdetail("All places for background workers are taken."),
				 errhint("Increase max_worker_processes and restart the server.")));
}

/*
 * The worker makes way for somebody who wants the database for himself, with
 * work left to do: have another one started in a while, if the database is still
 * there then.
 */
void
dp_launch_later(bool preloaded)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = DP_WORKER_ARG(MyDatabaseId, preloaded);
	strlcpy(worker.bgw_library_name, "digipay", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "digipay_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "digipay launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "digipay launcher", BGW_MAXLEN);
	(void) RegisterDynamicBackgroundWorker(&worker, NULL);
}

/* Does the worker of this database start with the server? */
bool
dp_launch_is_listed(void)
{
	const char *libraries = GetConfigOption("shared_preload_libraries", true, false);
	const char *database = get_database_name(MyDatabaseId);
	List	   *names = NIL;
	ListCell   *cell;

	if (libraries == NULL || strstr(libraries, "digipay") == NULL ||
		dp_guc_databases == NULL ||
		!SplitIdentifierString(pstrdup(dp_guc_databases), ',', &names))
		return false;
	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), database) == 0)
			return true;
	}
	return false;
}

/*
 * End this database's worker, and wait until it has.  False if there was none.
 */
bool
dp_launch_stop(void)
{
	int			pid = dp_mailbox_worker_pid();
	TimestampTz deadline;
	uint32		wait_event = dp_wait_event("DigipayWorkerStop");

	if (pid == 0)
		return false;
	if (kill(pid, SIGTERM) != 0 && errno != ESRCH)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not signal the digipay worker: %m")));
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										   dp_guc_shutdown_grace + START_TIMEOUT_MS);
	while (dp_mailbox_worker_pid() == pid)
	{
		if (GetCurrentTimestamp() > deadline)
			ereport(ERROR,
					(errcode(DP_ERRCODE_NO_WORKER),
					 errmsg("the digipay worker does not end"),
					 errhint("See the server's log for the reason.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/*
 * Under preload: let a short-lived process start the workers of
 * digipay.databases once the server is up, since names can be looked up only
 * then.
 */
void
dp_launch_at_server_start(void)
{
	BackgroundWorker worker = {0};

	if (dp_guc_databases == NULL || dp_guc_databases[0] == '\0')
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "digipay", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "digipay_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "digipay launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "digipay launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/*
 * A database that can be connected to, by its name, or by its oid where the name
 * is NULL; name_found gets its name.  By a scan, since this process is connected
 * to none and so has no catalog caches.
 */
static Oid
find_database(const char *name, Oid oid, NameData *name_found)
{
	Relation	databases = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(databases, 0, NULL);
	HeapTuple	tuple;
	Oid			found = InvalidOid;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (form->datallowconn &&
			(name != NULL ? strcmp(NameStr(form->datname), name) == 0 : form->oid == oid))
		{
			found = form->oid;
			*name_found = form->datname;
		}
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
	return found;
}

/* Start the worker of one database, or log why not. */
static void
start_listed(const char *name)
{
	NameData	found;
	Oid			database = find_database(name, InvalidOid, &found);
	BackgroundWorkerHandle *handle;

	if (!OidIsValid(database))
		ereport(LOG,
				(errcode(ERRCODE_UNDEFINED_DATABASE),
				 errmsg("database \"%s\" of digipay.databases does not exist", name)));
	else if (!register_worker(database, name, true, &handle))
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start the digipay worker of database \"%s\"", name),
				 errhint("Increase max_worker_processes.")));
}

/* Start the worker of a database again, if that is still there. */
static void
start_again(Oid database, bool preloaded)
{
	NameData	name;
	BackgroundWorkerHandle *handle;

	if (OidIsValid(find_database(NULL, database, &name)) &&
		!register_worker(database, NameStr(name), preloaded, &handle))
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start the digipay worker of database \"%s\"", NameStr(name)),
				 errhint("Increase max_worker_processes.")));
}

/*
 * Entry point of the launcher: for the databases of digipay.databases, or for
 * the one that its argument tells, after a while.
 */
void
digipay_launcher_main(Datum arg)
{
	Oid			database = (Oid) (DatumGetUInt64(arg) & PG_UINT32_MAX);
	List	   *names;
	ListCell   *cell;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (OidIsValid(database))
	{
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LATER_MS,
						 dp_wait_event("DigipayLauncher"));
		CHECK_FOR_INTERRUPTS();
	}
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	if (OidIsValid(database))
		start_again(database, (DatumGetUInt64(arg) >> 32) != 0);
	else if (!SplitIdentifierString(pstrdup(dp_guc_databases), ',', &names))
		ereport(LOG,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid list syntax in parameter \"%s\"", "digipay.databases")));
	else
	{
		foreach(cell, names)
			start_listed(lfirst(cell));
	}
	CommitTransactionCommand();
	proc_exit(0);
}
