/*-------------------------------------------------------------------------
 *
 * situation.c
 *	  Where a request must not be made from.
 *
 * All of these are contexts in which somebody else than the one who wrote the
 * call decides whether and how often it runs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "miscadmin.h"

#include "situation.h"

/* Raise the contract's error unless a request may be made here and now. */
void
dp_refuse_wrong_situation(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s() during recovery", function),
				 errhint("Call it on the primary server.")));
	if (XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s() in a read-only transaction", function),
				 errhint("Call it in a transaction that may write.")));
	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot execute %s() in a parallel operation", function),
				 errhint("Do not mark a function that calls it as parallel safe.")));
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot execute %s() within a security-restricted operation", function),
				 errhint("Do not use it in an index expression or a materialized view.")));
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot execute %s() while session_replication_role is replica", function),
				 errhint("Replicated changes have been paid where they come from.")));
	if (IsBinaryUpgrade)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot execute %s() in binary upgrade mode", function),
				 errhint("Call it when the upgrade is done.")));
}
