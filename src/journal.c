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
#include "journal.h"
#include "problem.h"
#include "state.h"
#include "statement.h"

static pg_uuid_t origin;		/* the mark of this database */

/* ----------
 * Start
 * ----------
 */

/* The mark of this database; made if there is none. */
pg_uuid_t
dp_journal_origin(void)
{
	bool		isnull;
	Datum		value;

	if (dp_run(DP_SQL_GET_ORIGIN, NULL) == 0)
	{
		dp_run(DP_SQL_MAKE_ORIGIN, NULL);
		if (dp_run(DP_SQL_GET_ORIGIN, NULL) == 0)
			elog(ERROR, "could not make the mark of this database");
	}
	value = dp_result(1, &isnull);
	memcpy(&origin, DatumGetUUIDP(value), sizeof(origin));
	return origin;
}

/*
 * Whatever was in flight before we became the only worker belongs to one that is
 * gone: it may have been sent.  Returns how many there were.  Rows that somebody
 * has locked are left for another time, since all others shall not wait for
 * them; *leftover says whether there are any.
 */
int
dp_journal_recover(bool *leftover)
{
	DpParams	params = {0};
	int			found;

	dp_param_text(&params, "the worker ended while the payment was on its way; it may have been made");
	found = (int) dp_run(DP_SQL_RECOVER, &params);
	*leftover = dp_run(DP_SQL_FIND_LEFTOVER, NULL) > 0;
	return found;
}

/* ----------
 * Before a request leaves
 * ----------
 */

static void
other_bill(DpProblem *problem, const char *ref_id, const char *why)
{
	dp_problem_set(problem, DP_ERRCODE_OTHER_BILL,
				   psprintf("ref_id \"%s\" belongs to another bill", ref_id));
	dp_problem_detail(problem, "%s", why);
	dp_problem_hint(problem, "Use a new ref_id for each bill.");
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
	found = dp_run(DP_SQL_FIND_INQUIRY, &params);
	if (found > 0 && !dp_result_bool(1))
	{
		other_bill(problem, ask->ref_id,
				   "The inquiry of this ref_id was for another code, customer_no or testing.");
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

/*
 * The insertion did nothing: find out why, and take over the row if it is one
 * that may leave.  params are those of DP_SQL_INTEND.
 */
static DpIntent
resolve_conflict(const DpAsk *ask, const DpAccount *account, DpParams *params,
				 DpProblem *problem)
{
	DpParams		key = {0};
	DpState		state;

	dp_param_text(&key, account->account);
	dp_param_text(&key, ask->ref_id);
	dp_param_text(&key, ask->code);
	dp_param_text(&key, ask->customer_no);
	dp_param(&key, BoolGetDatum(ask->testing));
	if (dp_run(DP_SQL_FIND_PAYMENT, &key) > 0)
	{
		if (!dp_result_bool(2))
		{
			other_bill(problem, ask->ref_id,
					   "There is a payment with this ref_id and another code, customer_no or testing.");
			return DP_INTENT_REFUSED;
		}
		if (!dp_state_from_name(dp_result_text(1), &state))
			elog(ERROR, "unrecognized payment state");
		if (state == DP_SENDING)
			return DP_INTENT_SENDING;
		if (!dp_state_may_leave(state))
			return DP_INTENT_KNOWN;
		if (dp_run(DP_SQL_CLAIM, params) > 0)
			return DP_INTENT_MADE;
	}
	else
	{
		DpParams		foreign_key = {0};

		dp_param_name(&foreign_key, account->server_name);
		dp_param_text(&foreign_key, ask->ref_id);
		if (dp_run(DP_SQL_FIND_FOREIGN_PAYMENT, &foreign_key) > 0)
		{
			dp_problem_set(problem, DP_ERRCODE_OTHER_BILL,
						   psprintf("ref_id \"%s\" was used under another account",
									ask->ref_id));
			dp_problem_detail(problem,
							  "It was used through this server under account \"%s\", which is \"%s\" now.",
							  dp_result_text(1), account->account);
			dp_problem_hint(problem,
							"Look at its row in digipay_payment; use a new ref_id only if that has not paid this bill.");
			return DP_INTENT_REFUSED;
		}
	}
	if (inquiry_disagrees(ask, account, problem))
		return DP_INTENT_REFUSED;
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("payment \"%s\" was changed meanwhile", ask->ref_id)));
}

/*
 * Is there a row of this bill already that is not to be sent again?  *intent
 * says what to do with it.
 */
static bool
find_known_row(const DpAsk *ask, const DpAccount *account, DpIntent *intent)
{
	DpParams	params = {0};
	DpState		state;

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	if (dp_run(DP_SQL_FIND_PAYMENT, &params) == 0 || !dp_result_bool(2) ||
		!dp_state_from_name(dp_result_text(1), &state) || dp_state_may_leave(state))
		return false;
	*intent = state == DP_SENDING ? DP_INTENT_SENDING : DP_INTENT_KNOWN;
	return true;
}

/*
 * Write a payment's intent, or find out why it must not be sent.  Raises 55P03
 * where another transaction holds the row.
 */
DpIntent
dp_journal_intend(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	DpIntent	known;
	DpParams	params = {0};

	if ((account->paused || dp_journal_is_tampered_with()) &&
		find_known_row(ask, account, &known))
		return known;
	if (account->paused)
	{
		dp_problem_set(problem, DP_ERRCODE_PAUSED,
					   psprintf("server \"%s\" is paused", account->server_name));
		dp_problem_hint(problem, "Its owner ends that with ALTER SERVER ... OPTIONS (SET paused 'false').");
		return DP_INTENT_REFUSED;
	}
	if (dp_journal_is_tampered_with())
	{
		dp_problem_set(problem, DP_ERRCODE_NO_WORKER,
					   "the journal has a trigger or rule that could change a payment");
		dp_problem_detail(problem, "Nothing was sent.");
		dp_problem_hint(problem, "Drop the rules and the BEFORE triggers of digipay_payment, then call again.");
		return DP_INTENT_REFUSED;
	}
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	dp_param_name(&params, account->server_name);
	dp_param_text(&params, account->account);
	dp_param(&params, NameGetDatum(&ask->requested_by));
	dp_param_text(&params, ask->max_price[0] ? ask->max_price : NULL);
	dp_param(&params, UUIDPGetDatum(&origin));
	dp_param(&params, Int32GetDatum(account->status_interval));

	if (dp_run(DP_SQL_INTEND, &params) > 0)
		return DP_INTENT_MADE;
	return resolve_conflict(ask, account, &params, problem);
}

/* May this ref_id be inquired about?  Not if it is another bill's payment. */
bool
dp_journal_may_inquire(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	DpParams	params = {0};

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	if (dp_run(DP_SQL_FIND_PAYMENT, &params) > 0 && !dp_result_bool(2))
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
static void
record_event(const char *server, const char *ref_id, const char *kind, const char *note,
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
static bool
add_reply(DpParams *params, const DpResponse *response, const DpReply *reply,
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
	DpParams	params = {0};

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	if (dp_run(DP_SQL_FIND_PAYMENT, &params) > 0 &&
		strcmp(dp_result_text(1), dp_state_name(DP_SENDING)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the outcome of payment \"%s\" was not taken by its row", ask->ref_id)));
}

/*
 * Write a payment's outcome: state not_sent if the request did not leave, else
 * what the reply says.
 */
void
dp_journal_outcome(const DpAsk *ask, const DpAccount *account,
				   const DpResponse *response, const DpReply *reply)
{
	DpParams	params = {0};
	DpState		state = response->departed ? reply->state : DP_NOT_SENT;
	bool		final = dp_state_is_final(state);
	const char *error = response->complete ? reply->reason : response->error;
	bool		stored;

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	stored = add_reply(&params, response, reply, error);
	dp_param_text(&params, dp_state_name(state));
	if (response->departed)
		dp_param(&params, TimestampTzGetDatum(response->sent_at));
	else
		dp_param_null(&params);
	dp_param(&params, BoolGetDatum(reply->trusted));
	dp_param(&params, BoolGetDatum(final && state != DP_REVIEW));
	dp_param_positive(&params, final ? 0 : account->status_interval);

	if (dp_run(DP_SQL_RECORD_OUTCOME, &params) == 0)
	{
		check_row_has_gone(ask, account);
		record_event(account->server_name, ask->ref_id, "unstored",
					 psprintf("the row in state sending has gone; the outcome was %s",
							  dp_state_name(state)), response);
	}
	else if (!response->complete)
		record_event(account->server_name, ask->ref_id, "transport", error, response);
	else if (!reply->trusted)
		record_event(account->server_name, ask->ref_id, "untrusted", error, response);
	else if (!stored)
		record_event(account->server_name, ask->ref_id, "unstored",
					 "this database cannot hold the reply as jsonb", response);
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

	if (!response->complete || !reply->trusted)
	{
		record_event(account->server_name, ask->ref_id,
					 response->complete ? "untrusted" : "transport",
					 response->complete ? reply->reason : response->error,
					 response);
		return;
	}
	dp_param_name(&params, account->server_name);
	dp_param_text(&params, ask->ref_id);
	stored = add_reply(&params, response, reply, NULL);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	dp_param_text(&params, account->account);
	dp_param(&params, NameGetDatum(&ask->requested_by));
	dp_run(DP_SQL_RECORD_INQUIRY, &params);
	if (!stored)
		record_event(account->server_name, ask->ref_id, "unstored",
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
	record_event(account->server_name, ask->ref_id, "unstored",
				 "the outcome could not be written yet; it is tried again", response);
}
