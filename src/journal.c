/*-------------------------------------------------------------------------
 *
 * journal.c
 *	  Whether a payment may leave, and its intent.
 *
 * Each function here is one step of a payment's life in terms of the journal,
 * and runs in the transaction that its caller has begun (statement.h).  What came
 * back is written by record.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "event.h"
#include "fence.h"
#include "journal.h"
#include "problem.h"
#include "state.h"
#include "statement.h"

/* ----------
 * Start
 * ----------
 */

/*
 * Whatever left before we became the only worker belongs to one that is gone: it may have been sent.  Returns how many there were.  Rows that somebody
 * has locked are left for another time, since all others shall not wait for
 * them; *leftover says whether there are any.
 */
int
dp_journal_recover(TimestampTz before, bool *leftover)
{
	DpParams	params = {0};
	DpParams	own = {0};
	int			found;

	dp_param_text(&params, "the worker ended while the payment was on its way; it may have been made");
	dp_param(&params, UUIDPGetDatum(dp_fence_origin()));
	dp_param(&params, TimestampTzGetDatum(before));
	found = (int) dp_run(DP_SQL_RECOVER, &params);
	dp_param(&own, UUIDPGetDatum(dp_fence_origin()));
	dp_param(&own, TimestampTzGetDatum(before));
	*leftover = dp_run(DP_SQL_FIND_LEFTOVER, &own) > 0;
	return found;
}

/* ----------
 * Before a request leaves
 * ----------
 */

/* Word PY002. */
static void
other_bill(DpProblem *problem, const char *ref_id, const char *why)
{
	dp_problem_set(problem, DP_ERRCODE_OTHER_BILL,
				   psprintf("ref_id \"%s\" belongs to another bill", ref_id));
	dp_problem_detail(problem, "%s", why);
	dp_problem_hint(problem, "Use a new ref_id for each bill.");
}

/*
 * Word PY006: the server requires a good inquiry of the day, and the row of
 * DP_SQL_FIND_INQUIRY, if there is one, is none.
 */
static void
no_inquiry_of_today(const DpAsk *ask, const DpAccount *account, bool found,
					DpProblem *problem)
{
	const char *rc = found ? dp_result_text(5) : NULL;

	dp_problem_set(problem, DP_ERRCODE_MAX_PRICE, "there is no good inquiry of today");
	if (!found)
		dp_problem_detail(problem, "Server \"%s\" has require_inquiry, and ref_id \"%s\" has no inquiry.",
						  account->server_name, ask->ref_id);
	else if (rc == NULL || strcmp(rc, "00") != 0)
		dp_problem_detail(problem, "Server \"%s\" has require_inquiry, and the inquiry of ref_id \"%s\" was answered with rc %s.",
						  account->server_name, ask->ref_id, rc != NULL ? rc : "NULL");
	else if (!dp_result_bool(7))
		dp_problem_detail(problem, "Server \"%s\" has require_inquiry, and the inquiry of ref_id \"%s\" was made under account \"%s\".",
						  account->server_name, ask->ref_id, dp_result_text(6));
	else
		dp_problem_detail(problem, "Server \"%s\" has require_inquiry, and the inquiry of ref_id \"%s\" is of %s in Jakarta.",
						  account->server_name, ask->ref_id, dp_result_text(8));
	dp_problem_hint(problem,
					"Call digipay_inquire with the same code, customer_no and ref_id, then call again.");
}

/* Why did the inquiry not agree?  False if it does. */
static bool
inquiry_disagrees(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	DpParams	params = {0};
	uint64		found;
	char	   *price;

	dp_param_name(&params, account->server_name);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	dp_param_text(&params, ask->max_price[0] ? ask->max_price : NULL);
	dp_param_text(&params, account->account);
	found = dp_run(DP_SQL_FIND_INQUIRY, &params);
	if (found > 0 && !dp_result_bool(1))
	{
		other_bill(problem, ask->ref_id,
				   "The inquiry of this ref_id was for another code, customer_no or testing.");
		return true;
	}
	if (account->require_inquiry && (found == 0 || !dp_result_bool(4)))
	{
		no_inquiry_of_today(ask, account, found > 0, problem);
		return true;
	}
	if (ask->max_price[0] == '\0' || (found > 0 && dp_result_bool(3)))
		return false;
	price = found > 0 ? dp_result_text(2) : NULL;
	dp_problem_set(problem, DP_ERRCODE_MAX_PRICE,
				   price != NULL ? "the price is more than max_price" :
				   "there is no inquiry to hold max_price against");
	if (price != NULL)
		dp_problem_detail(problem, "The inquiry of ref_id \"%s\" says %s, max_price is %s.",
						  ask->ref_id, price, ask->max_price);
	else
		dp_problem_detail(problem, "ref_id \"%s\" has no inquiry that says a price.", ask->ref_id);
	dp_problem_hint(problem, price != NULL ?
					"Call digipay_pay with a higher max_price, or do not pay." :
					"Call digipay_inquire with the same ref_id first.");
	return true;
}

/* The key of a payment's row, and the bill that it should be about. */
static uint64
find_payment(const DpAsk *ask, const DpAccount *account)
{
	DpParams	params = {0};

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	dp_param(&params, UUIDPGetDatum(dp_fence_origin()));
	return dp_run(DP_SQL_FIND_PAYMENT, &params);
}

/* The state in the row that find_payment has found. */
static DpState
found_state(void)
{
	DpState		state;

	if (!dp_state_from_name(dp_result_text(1), &state))
		elog(ERROR, "unrecognized payment state");
	return state;
}

/* Is there a payment of that key?  Its state then. */
bool
dp_journal_find(const DpAsk *ask, const DpAccount *account, DpState *state)
{
	if (find_payment(ask, account) == 0)
		return false;
	*state = found_state();
	return true;
}

/* Is the ref_id taken through this server under another account? */
static bool
is_other_accounts(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	DpParams	params = {0};

	dp_param_name(&params, account->server_name);
	dp_param_text(&params, ask->ref_id);
	if (dp_run(DP_SQL_FIND_FOREIGN_PAYMENT, &params) == 0)
		return false;
	dp_problem_set(problem, DP_ERRCODE_OTHER_BILL,
				   psprintf("ref_id \"%s\" was used under another account", ask->ref_id));
	dp_problem_detail(problem,
					  "It was used through this server under account \"%s\", which is \"%s\" now.",
					  dp_result_text(1), account->account);
	dp_problem_hint(problem,
					"Look at its row in digipay_payment; use a new ref_id only if that has not paid this bill.");
	return true;
}

/*
 * There is a row with this ref_id.  What does that mean for the payment?
 * DP_INTENT_MADE: it may leave, as far as the row is concerned.
 */
static DpIntent
judge_found_row(const DpAsk *ask, DpProblem *problem)
{
	DpState		state;

	if (!dp_result_bool(2))
	{
		other_bill(problem, ask->ref_id,
				   "There is a payment with this ref_id and another code, customer_no or testing.");
		return DP_INTENT_REFUSED;
	}
	state = found_state();
	if (state == DP_SENDING)
		return DP_INTENT_SENDING;
	if (!dp_state_may_leave(state) && !(ask->retry && dp_state_may_be_retried(state)))
		return DP_INTENT_KNOWN;
	if (dp_result_bool(3))
		return DP_INTENT_MADE;
	dp_problem_set(problem, DP_ERRCODE_PAUSED,
				   psprintf("payment \"%s\" belongs to the queue of another database", ask->ref_id));
	dp_problem_detail(problem, "Nothing was sent.");
	dp_problem_hint(problem, "Pay it there; if that database is no more, call digipay_take_over() here.");
	return DP_INTENT_REFUSED;
}

/*
 * The parameters by which a payment is queued or leaves, in the order of
 * INTENT_TYPES.  ms is the first interval of its questions, or its time in the
 * queue; not_after 0 is none.
 */
static void
add_intent(DpParams *params, const DpAsk *ask, const DpAccount *account, int ms,
		   TimestampTz not_after, const char *why)
{
	dp_param_text(params, ask->ref_id);
	dp_param_text(params, ask->code);
	dp_param_text(params, ask->customer_no);
	dp_param(params, BoolGetDatum(ask->testing));
	dp_param_name(params, account->server_name);
	dp_param_text(params, account->account);
	dp_param(params, NameGetDatum(&ask->requested_by));
	dp_param_text(params, ask->max_price[0] ? ask->max_price : NULL);
	dp_param(params, UUIDPGetDatum(dp_fence_origin()));
	dp_param(params, Int32GetDatum(ms));
	dp_param(params, BoolGetDatum(ask->retry));
	if (not_after != 0)
		dp_param(params, TimestampTzGetDatum(not_after));
	else
		dp_param_null(params);
	dp_param_text(params, why);
	dp_param(params, BoolGetDatum(account->require_inquiry));
}

/* Note in the row's history that it leaves again after it had an outcome. */
static void
note_retry(const DpAsk *ask, const DpAccount *account)
{
	static const DpResponse nothing;

	if (ask->retry)
		dp_event_write(account->server_name, ask->ref_id, "retried",
					   psprintf("by %s", NameStr(ask->requested_by)), &nothing);
}

/*
 * Nothing was written: it is the inquiry that speaks against it.  Raises 55P03
 * where even that does not any more.
 */
static DpIntent
refuse_by_inquiry(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	if (!inquiry_disagrees(ask, account, problem))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("payment \"%s\" was changed meanwhile", ask->ref_id)));
	return DP_INTENT_REFUSED;
}

/*
 * What is to be told about a payment that must not leave at present, for this
 * reason: one that is known already is answered all the same.
 */
DpIntent
dp_journal_vetoed(const DpAsk *ask, const DpAccount *account, const DpProblem *veto,
				  DpProblem *problem)
{
	DpIntent	found = DP_INTENT_MADE;

	if (find_payment(ask, account) > 0)
		found = judge_found_row(ask, problem);
	if (found != DP_INTENT_MADE)
		return found;
	*problem = *veto;
	return DP_INTENT_REFUSED;
}

/*
 * Note which entries the statement for all of them has written, by the rows
 * (account, ref_id) that it has returned.  They come in the order of the entries,
 * as a rule, so the search goes on where the last one has ended.
 */
void
dp_journal_mark_written(DpEntry *entries, int n, uint64 found)
{
	int			at = 0;

	for (uint64 row = 0; row < found; row++)
	{
		dp_result_row(row);
		for (int tries = 0; tries < n; tries++)
		{
			DpEntry    *entry = &entries[at];

			at = (at + 1) % n;
			if (!entry->written && dp_result_is(1, entry->account->account) &&
				dp_result_is(2, entry->ask->ref_id))
			{
				entry->written = true;
				break;
			}
		}
	}
}

/*
 * Does a payment depend on what its inquiry says?  If not, it need only be for no
 * other bill, and the statements that look no further start sooner.
 */
static bool
heeds_inquiry(const DpAsk *ask, const DpAccount *account)
{
	return ask->max_price[0] != '\0' || account->require_inquiry;
}

/*
 * Write the intents of those payments that are in the queue, or of the others;
 * of those that heed their inquiry, or of the others.
 */
static void
write_intents(DpEntry *entries, int n, DpStatementId id, bool claim, bool heeding)
{
	DpRows	   *rows = NULL;

	for (int i = 0; i < n; i++)
	{
		DpEntry    *entry = &entries[i];
		DpParams	params = {0};

		/* what has had its outcome is claimed by another statement */
		if (entry->claim != claim || entry->ask->retry ||
			heeds_inquiry(entry->ask, entry->account) != heeding)
			continue;
		if (rows == NULL)
			rows = dp_rows_begin(id);
		add_intent(&params, entry->ask, entry->account,
				   claim ? entry->account->queue_ttl : entry->account->status_interval, 0, NULL);
		dp_rows_add(rows, &params);
	}
	if (rows != NULL)
		dp_journal_mark_written(entries, n, dp_run_rows(rows));
}

/*
 * No row was made for this payment: there is one, or an inquiry disagrees.
 * Raises 55P03 where another transaction holds the row.
 */
static DpIntent
intend_again(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	if (find_payment(ask, account) > 0)
	{
		DpParams	params = {0};
		DpIntent	found = judge_found_row(ask, problem);

		if (found != DP_INTENT_MADE)
			return found;
		add_intent(&params, ask, account, account->status_interval, 0, NULL);
		if (dp_run(DP_SQL_CLAIM, &params) > 0)
		{
			note_retry(ask, account);
			return DP_INTENT_MADE;
		}
	}
	else if (is_other_accounts(ask, account, problem))
		return DP_INTENT_REFUSED;
	return refuse_by_inquiry(ask, account, problem);
}

/*
 * This payment could not be claimed.  Where another transaction holds the row,
 * or it is not to be paid any more, it is left alone; where its inquiry disagrees,
 * it is cancelled.
 */
static void
give_up_claim(const DpAsk *ask, const DpAccount *account, DpOutcome *outcome)
{
	DpParams	cancel = {0};
	DpProblem	problem;

	if (find_payment(ask, account) == 0 || found_state() != DP_QUEUED ||
		!inquiry_disagrees(ask, account, &problem))
		return;
	dp_param_text(&cancel, account->account);
	dp_param_text(&cancel, ask->ref_id);
	dp_param_text(&cancel, psprintf("%s: %s", problem.message, problem.detail));
	dp_param(&cancel, UUIDPGetDatum(dp_fence_origin()));
	if (dp_run(DP_SQL_CANCEL, &cancel) > 0)
	{
		outcome->became_final = true;
		outcome->state = DP_CANCELLED;
	}
}

/*
 * Write the intents of payments that are about to leave, many in one statement,
 * or find out of each why it must not be sent.
 */
void
dp_journal_leave(DpEntry *entries, int n)
{
	write_intents(entries, n, DP_SQL_INTEND, false, true);
	write_intents(entries, n, DP_SQL_INTEND_FREELY, false, false);
	write_intents(entries, n, DP_SQL_CLAIM_QUEUED, true, true);
	write_intents(entries, n, DP_SQL_CLAIM_QUEUED_FREELY, true, false);
	for (int i = 0; i < n; i++)
	{
		DpEntry    *entry = &entries[i];

		if (entry->written)
			entry->intent = DP_INTENT_MADE;
		else if (!entry->claim)
			entry->intent = intend_again(entry->ask, entry->account, entry->problem);
		else
		{
			entry->intent = DP_INTENT_REFUSED;
			give_up_claim(entry->ask, entry->account, entry->outcome);
		}
	}
}

/*
 * Put a payment into the queue, in the transaction that is open: the caller's
 * own, or the worker's.  why, if not NULL, is for the row's column error.  True
 * (DP_INTENT_MADE) with the row; else as dp_journal_leave tells.
 */
DpIntent
dp_journal_enqueue(const DpAsk *ask, const DpAccount *account, TimestampTz not_after,
				   const char *why, Datum *row, DpProblem *problem)
{
	DpParams	params = {0};
	DpIntent	found;
	bool		isnull;

	add_intent(&params, ask, account, account->status_interval, not_after, why);
	dp_param(&params, TimestampTzGetDatum(GetCurrentTimestamp()));
	if (!ask->retry &&
		dp_run(heeds_inquiry(ask, account) ? DP_SQL_ENQUEUE : DP_SQL_ENQUEUE_FREELY,
			   &params) > 0)
	{
		*row = dp_result_written(1);
		return DP_INTENT_MADE;
	}
	if (find_payment(ask, account) > 0)
	{
		DpParams	again = {0};
		bool		queued = found_state() == DP_QUEUED;

		found = judge_found_row(ask, problem);
		if (found != DP_INTENT_MADE)
			return found;
		if (queued)
			return DP_INTENT_KNOWN;

		/* its time in the queue begins anew */
		if (not_after == 0)
			not_after = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), account->queue_ttl);
		add_intent(&again, ask, account, account->status_interval, not_after, why);
		if (dp_run(DP_SQL_REQUEUE, &again) > 0)
		{
			*row = dp_result(1, &isnull);
			note_retry(ask, account);
			return DP_INTENT_MADE;
		}
	}
	else if (is_other_accounts(ask, account, problem))
		return DP_INTENT_REFUSED;
	return refuse_by_inquiry(ask, account, problem);
}

/*
 * After a take-over: must the provider first be asked about this payment, since
 * the other database may have made it?  That holds for all that is older, and
 * for everything in the first day, until the provider has said twice that it
 * does not know it.
 */
bool
dp_journal_must_ask(const DpAsk *ask, const DpAccount *account)
{
	DpParams	params = {0};
	bool		all = dp_fence_asks_first();

	if (!dp_fence()->ask_first)
		return false;
	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param(&params, BoolGetDatum(all));
	dp_param(&params, TimestampTzGetDatum(dp_fence()->since));
	return dp_run(DP_SQL_MUST_ASK, &params) > 0 ? dp_result_bool(1) : all;
}

/* May this ref_id be inquired about?  Not if it is another bill's payment. */
bool
dp_journal_may_inquire(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	if (find_payment(ask, account) > 0 && !dp_result_bool(2))
	{
		other_bill(problem, ask->ref_id,
				   "There is a payment with this ref_id and another code, customer_no or testing.");
		return false;
	}
	return true;
}

/* Has somebody else's transaction locked the payment's row? */
bool
dp_journal_is_locked(const DpAsk *ask, const DpAccount *account)
{
	DpParams	params = {0};

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	return dp_run(DP_SQL_LOCK_PAYMENT, &params) == 0 && find_payment(ask, account) > 0;
}
