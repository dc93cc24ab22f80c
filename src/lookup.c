/*-------------------------------------------------------------------------
 *
 * lookup.c
 *	  A row of the journal by its key, as it is now, for a session.
 *
 * By direct index look-ups: faster than SQL, no privilege on the table needed,
 * and as last committed, so that a session in REPEATABLE READ sees what
 * the worker has just committed for it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "lookup.h"
#include "objects.h"
#include "state.h"

/* The extension's objects; raises if somebody has dropped it meanwhile. */
static const DpObjects *
objects_or_error(void)
{
	const DpObjects *objects = dp_objects();

	if (objects == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"digipay\" is not installed"),
				 errhint("Run CREATE EXTENSION digipay.")));
	return objects;
}

/*
 * Find the one row with these two keys.  Returns a slot with its own copy of
 * the row, or NULL.
 */
static TupleTableSlot *
find_row(Relation table, Oid index_oid, RegProcedure equal_first, Datum first,
		 const char *ref_id, Snapshot snapshot)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	ScanKeyData keys[2];
	IndexScanDesc scan;
	bool		found;

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[0], equal_first, first);
	ScanKeyEntryInitialize(&keys[1], 0, 2, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[1], F_TEXTEQ,
						   CStringGetTextDatum(ref_id));
	scan = dp_index_beginscan(table, index, snapshot, 2);
	index_rescan(scan, keys, 2, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	if (found)
		ExecMaterializeSlot(slot);
	index_endscan(scan);
	index_close(index, AccessShareLock);
	if (found)
		return slot;
	ExecDropSingleTupleTableSlot(slot);
	return NULL;
}

/* A column of the row as palloc'd text; NULL for NULL. */
static char *
column_text(TupleTableSlot *slot, const char *column)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool		isnull;
		Datum		value;
		Oid			output;
		bool		is_varlena;

		if (attribute->attisdropped || strcmp(NameStr(attribute->attname), column) != 0)
			continue;
		value = slot_getattr(slot, i + 1, &isnull);
		if (isnull)
			return NULL;
		getTypeOutputInfo(attribute->atttypid, &output, &is_varlena);
		return OidOutputFunctionCall(output, value);
	}
	elog(ERROR, "column \"%s\" does not exist in the journal", column);
}

/* The same, for a column that is never NULL: does it hold this text? */
static bool
column_is(TupleTableSlot *slot, const char *column, const char *text)
{
	char	   *value = column_text(slot, column);

	return value != NULL && strcmp(value, text) == 0;
}

/* The state of a payment's row. */
static DpState
row_state(TupleTableSlot *slot)
{
	char	   *name = column_text(slot, "state");
	DpState		state;

	if (name == NULL || !dp_state_from_name(name, &state))
		elog(ERROR, "unrecognized payment state \"%s\"", name ? name : "");
	return state;
}

/* Let the ask be about the row's own bill. */
static void
take_bill(TupleTableSlot *slot, DpAsk *ask)
{
	strlcpy(ask->code, column_text(slot, "code"), sizeof(ask->code));
	strlcpy(ask->customer_no, column_text(slot, "customer_no"), sizeof(ask->customer_no));
	ask->testing = column_is(slot, "testing", "t");
	if (ask->retry)
	{
		char	   *max_price = column_text(slot, "max_price");

		strlcpy(ask->max_price, max_price != NULL ? max_price : "", sizeof(ask->max_price));
	}
}

/* Make what the caller wants of a row; frees the slot. */
static void
take_row(TupleTableSlot *slot, const DpAsk *ask, DpFound *found)
{
	found->same_bill = column_is(slot, "code", ask->code) &&
		column_is(slot, "customer_no", ask->customer_no) &&
		column_is(slot, "testing", ask->testing ? "t" : "f");
	found->row = ExecFetchSlotHeapTupleDatum(slot);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * The transaction that wrote this version of the row, if it is our own, which a
 * dirty snapshot does not report; else the invalid one.
 */
static TransactionId
own_writer(TupleTableSlot *slot)
{
	bool		isnull;
	TransactionId xmin;

	xmin = DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber,
												 &isnull));
	return TransactionIdIsCurrentTransactionId(xmin) ? xmin : InvalidTransactionId;
}

/*
 * Find the one row with these two keys, as last committed.  In a serializable
 * transaction not by an MVCC snapshot, which could end in a serialization
 * failure after the payment has been made; such a look can miss a row that is
 * being updated, so it is repeated.
 */
static TupleTableSlot *
find_committed_row(Relation table, Oid index_oid, RegProcedure equal_first, Datum first,
				   const char *ref_id)
{
	TupleTableSlot *slot = NULL;
	Snapshot	snapshot;

	if (IsolationIsSerializable())
	{
		for (int i = 0; i < 3 && slot == NULL; i++)
			slot = find_row(table, index_oid, equal_first, first, ref_id, SnapshotSelf);
		return slot;
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = find_row(table, index_oid, equal_first, first, ref_id, snapshot);
	UnregisterSnapshot(snapshot);
	return slot;
}

/*
 * The payment with the ask's ref_id under this account, as last committed.
 * False if there is none.
 */
bool
dp_lookup_payment(const char *account, const DpAsk *ask, DpFound *found)
{
	const DpObjects *objects = objects_or_error();
	Relation	table = table_open(objects->payment, AccessShareLock);
	TupleTableSlot *slot;

	slot = find_committed_row(table, objects->payment_by_account, F_TEXTEQ,
							  CStringGetTextDatum(account), ask->ref_id);
	if (slot != NULL)
	{
		found->state = row_state(slot);
		take_row(slot, ask, found);
	}
	table_close(table, AccessShareLock);
	return slot != NULL;
}

/*
 * Look with a dirty snapshot.  *other is the transaction that is at work on the
 * row, our own included; invalid if there is none.
 *
 * Such a look can miss a row.  Where an update that gives it a new place is
 * committed in the middle, the old version is dead when the look comes to it, and
 * the new one was not yet in the index.
 */
static TupleTableSlot *
find_dirty_row(Relation table, Oid index, const char *account, const char *ref_id,
			   TransactionId *other)
{
	SnapshotData dirty;
	TupleTableSlot *slot;

	/* the look sets these only if it meets a row */
	memset(&dirty, 0, sizeof(dirty));
	InitDirtySnapshot(dirty);
	slot = find_row(table, index, F_TEXTEQ, CStringGetTextDatum(account), ref_id, &dirty);
	*other = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
	if (slot != NULL && !TransactionIdIsValid(*other))
		*other = own_writer(slot);
	return slot;
}

/*
 * The same, once no other transaction is at work on that key: waits for it to
 * end, as an insertion under a unique index would, so that the wait can be
 * seen, cancelled and found by the deadlock detector.  The worker must not wait
 * for a transaction that may be waiting for the worker.  What our own
 * transaction has written is found as it is, and marked.
 *
 * A row that is being updated can be missed.  So that there seems to be none is
 * for those who would insert it, or have the worker insert it, and then are told.
 *
 * Keeps its lock on the journal until dp_lookup_done, so that nobody can drop
 * the table before we have read the outcome from it.
 */
bool
dp_lookup_payment_or_own(const char *account, const DpAsk *ask, DpFound *found)
{
	const DpObjects *objects = objects_or_error();
	Relation	table = table_open(objects->payment, AccessShareLock);

	for (;;)
	{
		TransactionId other;
		TupleTableSlot *slot = find_dirty_row(table, objects->payment_by_account, account,
											  ask->ref_id, &other);

		found->own = TransactionIdIsValid(other) && TransactionIdIsCurrentTransactionId(other);
		if (!TransactionIdIsValid(other) || found->own)
		{
			if (slot != NULL)
			{
				found->state = row_state(slot);
				take_row(slot, ask, found);
			}
			table_close(table, NoLock);
			return slot != NULL;
		}
		if (slot != NULL)
			ExecDropSingleTupleTableSlot(slot);
		XactLockTableWait(other, NULL, NULL, XLTW_None);
	}
}

/* The same; raises 55000 if our own transaction has written the row. */
bool
dp_lookup_payment_settled(const char *account, const DpAsk *ask, DpFound *found)
{
	bool		known = dp_lookup_payment_or_own(account, ask, found);

	if (known && found->own)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("payment \"%s\" was written by this transaction", ask->ref_id),
				 errhint("Commit first, then call again.")));
	return known;
}

/* Raise 42704: there is no such payment. */
static void
no_payment(const DpAccount *account, const char *ref_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("payment \"%s\" does not exist", ref_id),
			 errdetail("There is none with this ref_id under account \"%s\".", account->account),
			 errhint("Check the ref_id and the server; digipay_payment has all payments.")));
}

/*
 * The payment with the ask's ref_id, as last committed, or as our own
 * transaction has left it; the ask gets its bill.  Waits for nobody.  Raises
 * 42704 if there is none.
 */
DpState
dp_lookup_existing(const DpAccount *account, DpAsk *ask, DpFound *found)
{
	const DpObjects *objects = objects_or_error();
	Relation	table = table_open(objects->payment, AccessShareLock);
	TransactionId other;
	TupleTableSlot *slot = find_dirty_row(table, objects->payment_by_account, account->account,
										  ask->ref_id, &other);

	found->own = TransactionIdIsValid(other) && TransactionIdIsCurrentTransactionId(other);
	if (!found->own && (slot == NULL || TransactionIdIsValid(other)))
	{
		/* somebody is at work on it: what he has not committed does not count */
		if (slot != NULL)
			ExecDropSingleTupleTableSlot(slot);
		slot = find_committed_row(table, objects->payment_by_account, F_TEXTEQ,
								  CStringGetTextDatum(account->account), ask->ref_id);
	}
	if (slot == NULL)
		no_payment(account, ask->ref_id);
	take_bill(slot, ask);
	found->state = row_state(slot);
	take_row(slot, ask, found);
	table_close(table, AccessShareLock);
	return found->state;
}

/* Let the ask be about the bill of the payment with its ref_id. */
void
dp_lookup_bill(const DpAccount *account, DpAsk *ask)
{
	DpFound		found;

	(void) dp_lookup_existing(account, ask, &found);
}

/* Raise PY002 unless the row is about the bill that was asked for. */
void
dp_lookup_check_bill(const DpAsk *ask, const DpFound *found)
{
	if (!found->same_bill)
		ereport(ERROR,
				(errcode(DP_ERRCODE_OTHER_BILL),
				 errmsg("ref_id \"%s\" belongs to another bill", ask->ref_id),
				 errdetail("There is a payment with this ref_id and another code, customer_no or testing."),
				 errhint("Use a new ref_id for each bill.")));
}

/*
 * How many columns the journal has now.  Between the look and dp_lookup_done
 * that does not change.
 */
int
dp_lookup_column_count(void)
{
	Relation	table = table_open(objects_or_error()->payment, NoLock);
	int			count = RelationGetDescr(table)->natts;

	table_close(table, NoLock);
	return count;
}

/*
 * Let go of the journal.  At once, not at the end of the transaction: whoever
 * wants the table for himself would wait for us, and the worker for him.
 */
void
dp_lookup_done(void)
{
	UnlockRelationOid(objects_or_error()->payment, AccessShareLock);
}

/* The last answer to an inquiry, as committed.  False if there is none. */
bool
dp_lookup_inquiry(const char *server, const DpAsk *ask, DpFound *found)
{
	const DpObjects *objects = objects_or_error();
	Relation	table = table_open(objects->inquiry, AccessShareLock);
	TupleTableSlot *slot;

	slot = find_committed_row(table, objects->inquiry_by_server, F_NAMEEQ,
							  CStringGetDatum(server), ask->ref_id);
	if (slot != NULL)
		take_row(slot, ask, found);
	table_close(table, AccessShareLock);
	return slot != NULL;
}
