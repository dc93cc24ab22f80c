/*-------------------------------------------------------------------------
 *
 * srf.c
 *	  Set-returning functions that hand over all rows at once.
 *
 * PostgreSQL has a function for this from 15 on, under two names; this is the
 * same for all versions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "srf.h"

/* The row type of the result, as the executor or else the catalog knows it. */
static TupleDesc
row_type(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	desc;

	if (result == NULL || !IsA(result, ReturnSetInfo) ||
		(result->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	/* in FROM the executor knows the row already; asking the catalog takes longer than most calls */
	desc = result->expectedDesc;
	if (desc == NULL && get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return desc;
}

/* Make the store for the rows. */
static ReturnSetInfo *
begin(FunctionCallInfo fcinfo, TupleDesc desc)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);

	result->returnMode = SFRM_Materialize;
	result->setDesc = desc == NULL ? NULL : CreateTupleDescCopy(desc);
	result->setResult = tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0,
											  false, work_mem);
	MemoryContextSwitchTo(old);
	return result;
}

/*
 * Prepare the result of a function that returns a set of a row type: rows go
 * into setResult with tuplestore_putvalues, described by setDesc.
 */
ReturnSetInfo *
dp_srf_begin(FunctionCallInfo fcinfo)
{
	return begin(fcinfo, row_type(fcinfo));
}

/*
 * The same for a function that is called once for each of a million rows: the
 * executor's own description of the row, where it has one, is used as it is.  It
 * would hold a copy against it, and free it, at each call.  Rows go into the
 * result with dp_srf_put.
 */
ReturnSetInfo *
dp_srf_begin_small(FunctionCallInfo fcinfo)
{
	TupleDesc	desc = row_type(fcinfo);

	return begin(fcinfo, ((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc != NULL ? NULL : desc);
}

/* Put a row into such a result. */
void
dp_srf_put(ReturnSetInfo *result, Datum *values, bool *nulls)
{
	tuplestore_putvalues(result->setResult,
						 result->setDesc != NULL ? result->setDesc : result->expectedDesc,
						 values, nulls);
}
