/*-------------------------------------------------------------------------
 *
 * journal.c
 *	  What is written about a payment, and when it may be.
 *
 * Each function here is one step of a payment's life in terms of the journal,
 * and runs in the transaction that its caller has begun (statement.h).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "charset.h"
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
		dp_journal_event(account->server_name, ask->ref_id, "retried",
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
 * Write a payment's intent, or find out why it must not be sent.  A veto is
 * what forbids all payments at present; one that is known already is answered
 * all the same.  Raises 55P03 where another transaction holds the row.
 */
DpIntent
dp_journal_intend(const DpAsk *ask, const DpAccount *account, const DpProblem *veto,
				  DpProblem *problem)
{
	DpIntent	found;
	DpParams	params = {0};

	if (veto->sqlerrcode != 0)
	{
		found = find_payment(ask, account) > 0 ? judge_found_row(ask, problem) : DP_INTENT_MADE;
		if (found != DP_INTENT_MADE)
			return found;
		*problem = *veto;
		return DP_INTENT_REFUSED;
	}
	add_intent(&params, ask, account, account->status_interval, 0, NULL);
	if (!ask->retry && dp_run(DP_SQL_INTEND, &params) > 0)
		return DP_INTENT_MADE;

	/* there is a row, or an inquiry that disagrees */
	if (find_payment(ask, account) > 0)
	{
		found = judge_found_row(ask, problem);
		if (found != DP_INTENT_MADE)
			return found;
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
 * Claim a queued payment, which is about to leave.  Where another transaction
 * holds the row, or it is not to be paid any more, it is left alone.
 */
DpIntent
dp_journal_claim(const DpAsk *ask, const DpAccount *account, DpOutcome *outcome)
{
	DpParams	params = {0};
	DpParams	cancel = {0};
	DpProblem	problem;

	add_intent(&params, ask, account, account->queue_ttl, 0, NULL);
	if (dp_run(DP_SQL_CLAIM_QUEUED, &params) > 0)
		return DP_INTENT_MADE;
	if (find_payment(ask, account) == 0 || found_state() != DP_QUEUED ||
		!inquiry_disagrees(ask, account, &problem))
		return DP_INTENT_REFUSED;
	dp_param_text(&cancel, account->account);
	dp_param_text(&cancel, ask->ref_id);
	dp_param_text(&cancel, psprintf("%s: %s", problem.message, problem.detail));
	dp_param(&cancel, UUIDPGetDatum(dp_fence_origin()));
	if (dp_run(DP_SQL_CANCEL, &cancel) > 0)
	{
		outcome->became_final = true;
		outcome->state = DP_CANCELLED;
	}
	return DP_INTENT_REFUSED;
}

/*
 * Put a payment into the queue, in the transaction that is open: the caller's
 * own, or the worker's.  why, if not NULL, is for the row's column error.  True
 * (DP_INTENT_MADE) with the row; else as dp_journal_intend.
 */
DpIntent
dp_journal_enqueue(const DpAsk *ask, const DpAccount *account, TimestampTz not_after,
				   const char *why, Datum *row, DpProblem *problem)
{
	DpParams	params = {0};
	DpIntent	found;
	bool		isnull;

	add_intent(&params, ask, account, account->status_interval, not_after, why);
	if (!ask->retry && dp_run(DP_SQL_ENQUEUE, &params) > 0)
	{
		*row = dp_result(1, &isnull);
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

/* ----------
 * After the answer
 * ----------
 */

/* Note that a column stays empty. */
static void
note_unfit(StringInfo note, const char *column)
{
	appendStringInfo(note, "%s%s cannot be held in this database's encoding or limits",
					 note->len > 0 ? "; " : "", column);
}

/* A text of the provider's, which the database may not be able to hold. */
static void
add_reply_text(DpParams *params, const char *utf8, const char *column, StringInfo note)
{
	char	   *text = utf8 != NULL ? dp_from_utf8(utf8) : NULL;

	dp_param_text(params, text);
	if (utf8 != NULL && text == NULL)
		note_unfit(note, column);
}

/* JSON of the provider's; returns false if the database cannot hold it. */
static bool
add_reply_json(DpParams *params, const char *utf8, const char *column, StringInfo note)
{
	Datum		jsonb;

	if (utf8 == NULL)
		dp_param_null(params);
	else if (dp_json_to_jsonb(utf8, &jsonb))
		dp_param(params, jsonb);
	else
	{
		dp_param_null(params);
		note_unfit(note, column);
		return false;
	}
	return true;
}

/* Write an event, with the bytes that came. */
void
dp_journal_event(const char *server, const char *ref_id, const char *kind, const char *note,
				 const DpResponse *response)
{
	DpParams	params = {0};

	dp_param_name(&params, server);
	dp_param_text(&params, ref_id);
	dp_param_text(&params, kind);
	dp_param_positive(&params, response->http_status);
	dp_param_positive(&params, response->curl_code);
	dp_param_text(&params, note);
	if (response->body_len > 0)
		dp_param(&params, PointerGetDatum(cstring_to_text_with_len(response->body,
																	response->body_len)));
	else
		dp_param_null(&params);
	dp_run(DP_SQL_RECORD_EVENT, &params);
}

/*
 * Add the parameters that both tables have for a reply, in the order of
 * REPLY_COLUMNS.  What a reply says counts only when it is trusted.  Returns
 * false if the database cannot hold the reply as jsonb.
 */
bool
dp_journal_add_reply(DpParams *params, const DpResponse *response, const DpReply *reply,
					 const char *error)
{
	static const DpReply nothing;
	StringInfoData note;
	bool		stored;

	initStringInfo(&note);
	if (error != NULL)
		appendStringInfoString(&note, error);
	if (reply->trusted && reply->note != NULL)
		appendStringInfo(&note, "%s%s", note.len > 0 ? "; " : "", reply->note);
	if (!reply->trusted)
		reply = &nothing;

	add_reply_text(params, reply->name, "name", &note);
	dp_param_text(params, reply->price);
	dp_param_text(params, reply->selling_price);
	dp_param_text(params, reply->admin);
	dp_param_text(params, reply->base_commission);
	dp_param_text(params, reply->balance);
	add_reply_text(params, reply->status, "status", &note);
	add_reply_text(params, reply->rc, "rc", &note);
	add_reply_text(params, reply->message, "message", &note);
	add_reply_text(params, reply->sn, "sn", &note);
	add_reply_text(params, reply->periode, "periode", &note);
	(void) add_reply_json(params, reply->desc, "desc", &note);
	stored = add_reply_json(params, reply->data, "reply", &note);
	dp_param_positive(params, response->http_status);
	dp_param_text(params, note.len > 0 ? note.data : NULL);
	return stored;
}

/* Raise if the row is there, still waiting for the outcome: it is tried again. */
static void
check_row_has_gone(const DpAsk *ask, const DpAccount *account)
{
	if (find_payment(ask, account) > 0 && found_state() == DP_SENDING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the outcome of payment \"%s\" was not taken by its row", ask->ref_id)));
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

/* Put a payment that could not leave back into the queue. */
static uint64
put_back(const DpAsk *ask, const DpAccount *account, const char *why)
{
	DpParams	params = {0};

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, why);
	dp_param(&params, Int32GetDatum(account->queue_ttl));
	return dp_run(DP_SQL_PUT_BACK, &params);
}

/* Write the state, and what the reply says. */
static uint64
record_state(const DpAsk *ask, const DpAccount *account, DpState state,
			 const DpResponse *response, const DpReply *reply, const char *error,
			 bool *stored)
{
	DpParams	params = {0};
	bool		final = dp_state_is_final(state);

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	*stored = dp_journal_add_reply(&params, response, reply, error);
	dp_param_text(&params, dp_state_name(state));
	if (response->departed)
		dp_param(&params, TimestampTzGetDatum(response->sent_at));
	else
		dp_param_null(&params);
	dp_param(&params, BoolGetDatum(reply->trusted));
	dp_param(&params, BoolGetDatum(final && state != DP_REVIEW));
	dp_param_positive(&params, final ? 0 : account->status_interval);
	return dp_run(DP_SQL_RECORD_OUTCOME, &params);
}

/*
 * Write a payment's outcome: if the request did not leave, not_sent, or queued
 * again where nobody waits for it; else what the reply says.
 */
void
dp_journal_outcome(const DpAsk *ask, const DpAccount *account, bool from_queue,
				   const DpResponse *response, const DpReply *reply, DpOutcome *outcome)
{
	DpState		state = response->departed ? reply->state :
		from_queue ? DP_QUEUED : DP_NOT_SENT;
	const char *error = response->complete ? reply->reason : response->error;
	bool		stored = true;
	uint64		found;

	if (state == DP_QUEUED)
		found = put_back(ask, account, error);
	else
		found = record_state(ask, account, state, response, reply, error, &stored);
	outcome->state = state;
	outcome->became_final = found > 0 && dp_state_is_final(state);

	if (found == 0)
	{
		check_row_has_gone(ask, account);
		dp_journal_event(account->server_name, ask->ref_id, "unstored",
						 psprintf("the row in state sending has gone; the outcome was %s",
								  dp_state_name(state)), response);
	}
	else if (!response->complete)
		dp_journal_event(account->server_name, ask->ref_id, "transport", error, response);
	else if (!reply->trusted)
		dp_journal_event(account->server_name, ask->ref_id, "untrusted", error, response);
	else if (!stored)
		dp_journal_event(account->server_name, ask->ref_id, "unstored",
						 "this database cannot hold the reply as jsonb", response);
}

/* Keep what cannot be believed of an answer to a question; false if it can. */
bool
dp_journal_distrusted(const DpAsk *ask, const DpAccount *account,
					  const DpResponse *response, const DpReply *reply)
{
	if (response->complete && reply->trusted)
		return false;
	dp_journal_event(account->server_name, ask->ref_id,
					 response->complete ? "untrusted" : "transport",
					 response->complete ? reply->reason : response->error,
					 response);
	return true;
}

/*
 * Write what an inquiry brought: the answer if there was a trustworthy one,
 * else an event.
 */
void
dp_journal_inquiry(const DpAsk *ask, const DpAccount *account,
				   const DpResponse *response, const DpReply *reply)
{
	DpParams	params = {0};
	bool		stored;

	if (dp_journal_distrusted(ask, account, response, reply))
		return;
	dp_param_name(&params, account->server_name);
	dp_param_text(&params, ask->ref_id);
	stored = dp_journal_add_reply(&params, response, reply, NULL);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	dp_param_text(&params, account->account);
	dp_param(&params, NameGetDatum(&ask->requested_by));
	/* not now: an answer may come a day later than the provider has counted it */
	dp_param(&params, TimestampTzGetDatum(response->sent_at));
	dp_run(DP_SQL_RECORD_INQUIRY, &params);
	if (!stored)
		dp_journal_event(account->server_name, ask->ref_id, "unstored",
					 "this database cannot hold the reply as jsonb", response);
}

/*
 * Keep a reply's bytes whose outcome cannot be written now, so that they
 * survive this worker.
 */
void
dp_journal_unrecorded(const DpAsk *ask, const DpAccount *account,
					  const DpResponse *response)
{
	dp_journal_event(account->server_name, ask->ref_id, "unstored",
				 "the outcome could not be written yet; it is tried again", response);
}
