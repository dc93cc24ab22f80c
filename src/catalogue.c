/*-------------------------------------------------------------------------
 *
 * catalogue.c
 *	  The price list: when it was asked for, what it said, and the catalogue that
 *	  is kept of it.
 *
 * The provider takes one such call in five minutes.  So there is one row for each
 * account, which the worker commits before a call leaves; in it is the answer,
 * where there is one, and for these five minutes it serves whoever asks the same.
 * What is made of the answer, rows and the catalogue, is the sessions' own work, in
 * their own transactions: the worker touches no table of theirs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "answer.h"
#include "catalogue.h"
#include "charset.h"
#include "event.h"
#include "option.h"
#include "problem.h"
#include "statement.h"

/* ----------
 * The worker
 * ----------
 */

/* The kind of products, as the provider calls it. */
static const char *
kind_of(const DpAsk *ask)
{
	return ask->prepaid ? "prepaid" : "pasca";
}

/* NULL for the empty string. */
static const char *
null_if_empty(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

/* Add the account, the kind and the code by which a list is looked up. */
static void
add_key(DpParams *params, const DpAsk *ask, const char *account)
{
	dp_param_text(params, account);
	dp_param_text(params, kind_of(ask));
	dp_param_text(params, null_if_empty(ask->code));
}

/*
 * Write down that the list is asked for.  Where that was done within the last
 * five minutes, its answer is there if it is one to this question; else the
 * problem says when the next may leave.
 */
DpIntent
dp_list_intend(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	DpParams	params = {0};
	DpParams	key = {0};
	char	   *error;

	add_key(&params, ask, account->account);
	dp_param_name(&params, account->server_name);
	dp_param(&params, NameGetDatum(&ask->requested_by));
	dp_param_text(&params, dp_dialect_name(account->dialect));
	if (dp_run(DP_SQL_INTEND_LIST, &params) > 0)
		return DP_INTENT_MADE;

	add_key(&key, ask, account->account);
	if (dp_run(DP_SQL_FIND_LIST, &key) > 0 && dp_result_bool(1))
		return DP_INTENT_KNOWN;
	error = dp_result_text(3);
	dp_problem_set(problem, DP_ERRCODE_NO_ANSWER,
				   "the price list was asked for less than five minutes ago");
	dp_problem_detail(problem, "The next question may leave in %d seconds.  The last one was for %s: %s.",
					  dp_result_int(2), dp_result_text(4),
					  error != NULL ? error : dp_result_bool(5) ? "it was answered" : "it has no answer");
	dp_problem_hint(problem, "The provider takes one such call in five minutes for each account.  The table digipay_catalogue has what digipay_sync_products was told last.");
	return DP_INTENT_REFUSED;
}

/*
 * Write down what came.  What is no list, or cannot be held by this database,
 * leaves the reply untrusted, or refused, and an error in the row.
 */
void
dp_list_outcome(const DpAsk *ask, const DpAccount *account,
				const DpResponse *response, DpReply *reply)
{
	bool		good = response->complete && reply->trusted && reply->state == DP_SUCCEEDED;
	const char *kind = NULL;
	DpParams	params = {0};
	Datum		list = (Datum) 0;

	if (!response->complete)
		kind = "transport";
	else if (!reply->trusted)
		kind = "untrusted";
	else if (good && !dp_json_to_jsonb(reply->data, &list))
	{
		good = reply->trusted = false;
		reply->reason = "this database cannot hold the price list as jsonb";
		kind = "unstored";
	}
	dp_param_text(&params, account->account);
	if (good)
		dp_param(&params, list);
	else
		dp_param_null(&params);
	dp_param_text(&params, good ? NULL : dp_answer_reason(response, reply));
	dp_param_positive(&params, response->http_status);
	dp_param(&params, BoolGetDatum(response->departed));
	(void) dp_run(DP_SQL_RECORD_LIST, &params);
	if (kind != NULL)
		dp_event_write(account->server_name, "", kind,
					   response->complete ? reply->reason : response->error, response);
}

/* ----------
 * Sessions
 * ----------
 */

/* Put the last statement's rows into the result. */
static void
put_rows(ReturnSetInfo *result, uint64 nrows)
{
	int			ncolumns = result->setDesc->natts;
	Datum	   *values = palloc(ncolumns * sizeof(Datum));
	bool	   *nulls = palloc(ncolumns * sizeof(bool));

	for (uint64 row = 0; row < nrows; row++)
	{
		dp_result_row(row);
		for (int i = 0; i < ncolumns; i++)
			values[i] = dp_result(i + 1, &nulls[i]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* The rows of the list that the worker has just had; how many. */
uint64
dp_list_rows(const DpAsk *ask, const char *account, ReturnSetInfo *result)
{
	DpParams	params = {0};
	DpSession	session;
	uint64		nrows;

	dp_session_begin(&session);
	add_key(&params, ask, account);
	nrows = dp_run(DP_SQL_LIST_ROWS, &params);
	put_rows(result, nrows);
	dp_session_end(&session);
	return nrows;
}

/*
 * Bring the catalogue up to the list that the worker has just had.  Whoever else
 * does the same waits for the end of this transaction, and then finds nothing to
 * do, or a newer list.  False if there is no list after all.
 */
bool
dp_catalogue_sync(const DpAsk *ask, const char *account, const char *server,
				  ReturnSetInfo *result)
{
	DpParams	params = {0};
	DpSession	session;
	bool		found;

	dp_session_begin(&session);
	(void) dp_run(DP_SQL_LOCK_CATALOGUE, NULL);
	dp_param_text(&params, account);
	dp_param_name(&params, server);
	found = dp_run(DP_SQL_SYNC_CATALOGUE, &params) > 0 && dp_result_long(1) > 0;
	if (found)
		put_rows(result, 1);
	dp_session_end(&session);
	return found;
}
