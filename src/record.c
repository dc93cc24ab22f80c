/*-------------------------------------------------------------------------
 *
 * record.c
 *	  What came back, as it is written: outcomes, inquiries, events.
 *
 * Runs in the transaction that the caller has begun (statement.h).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "charset.h"
#include "event.h"
#include "record.h"
#include "state.h"
#include "statement.h"

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

/*
 * The reply's JSON as this database holds it; (Datum) 0 for what is not there, or
 * cannot be held.  False if the whole cannot.
 */
static bool
json_of_reply(const DpReply *reply, Datum *desc, Datum *data)
{
	*desc = *data = (Datum) 0;
	if (reply->data != NULL && dp_json_to_jsonb(reply->data, data))
	{
		/* it is a part of the whole: no need to read it again */
		if (reply->desc != NULL)
			*desc = dp_jsonb_field(*data, "desc");
		return true;
	}
	if (reply->desc != NULL && !dp_json_to_jsonb(reply->desc, desc))
		*desc = (Datum) 0;
	return reply->data == NULL;
}

/* Add JSON of the provider's, which the database may not be able to hold. */
static void
add_json(DpParams *params, const char *text, Datum jsonb, const char *column, StringInfo note)
{
	if (jsonb != (Datum) 0)
		dp_param(params, jsonb);
	else
		dp_param_null(params);
	if (text != NULL && jsonb == (Datum) 0)
		note_unfit(note, column);
}

/*
 * Add the parameters that both tables have for a reply, in the order of
 * REPLY_COLUMNS.  What a reply says counts only when it is trusted.  Returns
 * false if the database cannot hold the reply as jsonb.
 */
bool
dp_record_add_reply(DpParams *params, const DpResponse *response, const DpReply *reply,
					const char *error)
{
	static const DpReply nothing;
	StringInfoData note;
	Datum		desc;
	Datum		data;
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
	stored = json_of_reply(reply, &desc, &data);
	add_json(params, reply->desc, desc, "desc", &note);
	add_json(params, reply->data, data, "reply", &note);
	dp_param_positive(params, response->http_status);
	dp_param_text(params, note.len > 0 ? note.data : NULL);
	return stored;
}

/* Raise if the row is there, still waiting for the outcome: it is tried again. */
static void
check_row_has_gone(const DpAsk *ask, const DpAccount *account)
{
	DpState		state;

	if (dp_journal_find(ask, account, &state) && state == DP_SENDING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the outcome of payment \"%s\" was not taken by its row", ask->ref_id)));
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

/* What a payment becomes by what came back. */
static DpState
state_of(const DpEntry *entry)
{
	return entry->response->departed ? entry->reply->state :
		entry->from_queue ? DP_QUEUED : DP_NOT_SENT;
}

/* Why it became that, in words; NULL where all is well. */
static const char *
error_of(const DpEntry *entry)
{
	return entry->response->complete ? entry->reply->reason : entry->response->error;
}

/* Add the state, and what the reply says, to the rows of outcomes. */
static void
add_outcome(DpRows *rows, DpEntry *entry)
{
	DpState		state = state_of(entry);
	bool		final = dp_state_is_final(state);
	DpParams	params = {0};

	dp_param_text(&params, entry->account->account);
	dp_param_text(&params, entry->ask->ref_id);
	entry->stored = dp_record_add_reply(&params, entry->response, entry->reply, error_of(entry));
	dp_param_text(&params, dp_state_name(state));
	if (entry->response->departed)
		dp_param(&params, TimestampTzGetDatum(entry->response->sent_at));
	else
		dp_param_null(&params);
	dp_param(&params, BoolGetDatum(entry->reply->trusted));
	dp_param(&params, BoolGetDatum(final && state != DP_REVIEW));
	dp_param_positive(&params, final ? 0 : entry->account->status_interval);
	dp_rows_add(rows, &params);
}

/* Note what else there is to be known of an outcome. */
static void
note_outcome(const DpEntry *entry)
{
	const DpResponse *response = entry->response;
	const char *server = entry->account->server_name;
	const char *ref_id = entry->ask->ref_id;

	if (!entry->written)
	{
		check_row_has_gone(entry->ask, entry->account);
		dp_event_write(server, ref_id, "unstored",
					   psprintf("the row in state sending has gone; the outcome was %s",
								dp_state_name(entry->outcome->state)), response);
	}
	else if (!response->complete)
		dp_event_write(server, ref_id, "transport", error_of(entry), response);
	else if (!entry->reply->trusted)
		dp_event_write(server, ref_id, "untrusted", error_of(entry), response);
	else if (!entry->stored)
		dp_event_write(server, ref_id, "unstored",
					   "this database cannot hold the reply as jsonb", response);
}

/*
 * Write the outcomes of payments, many in one statement: if the request did not
 * leave, not_sent, or queued again where nobody waits for it; else what the reply
 * says.
 */
void
dp_record_outcomes(DpEntry *entries, int n)
{
	DpRows	   *rows = NULL;

	for (int i = 0; i < n; i++)
	{
		DpEntry    *entry = &entries[i];

		entry->stored = true;
		entry->outcome->state = state_of(entry);
		if (entry->outcome->state == DP_QUEUED)
			entry->written = put_back(entry->ask, entry->account, error_of(entry)) > 0;
		else
		{
			if (rows == NULL)
				rows = dp_rows_begin(DP_SQL_RECORD_OUTCOME);
			add_outcome(rows, entry);
		}
	}
	if (rows != NULL)
		dp_journal_mark_written(entries, n, dp_run_rows(rows));
	for (int i = 0; i < n; i++)
	{
		DpOutcome  *outcome = entries[i].outcome;

		outcome->became_final = entries[i].written && dp_state_is_final(outcome->state);
		note_outcome(&entries[i]);
	}
}

/* Keep what cannot be believed of an answer to a question; false if it can. */
bool
dp_record_distrusted(const DpAsk *ask, const DpAccount *account,
					 const DpResponse *response, const DpReply *reply)
{
	if (response->complete && reply->trusted)
		return false;
	dp_event_write(account->server_name, ask->ref_id,
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
dp_record_inquiry(const DpAsk *ask, const DpAccount *account,
				  const DpResponse *response, const DpReply *reply)
{
	DpParams	params = {0};
	bool		stored;

	if (dp_record_distrusted(ask, account, response, reply))
		return;
	dp_param_name(&params, account->server_name);
	dp_param_text(&params, ask->ref_id);
	stored = dp_record_add_reply(&params, response, reply, NULL);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param(&params, BoolGetDatum(ask->testing));
	dp_param_text(&params, account->account);
	dp_param(&params, NameGetDatum(&ask->requested_by));
	/* not now: an answer may come a day later than the provider has counted it */
	dp_param(&params, TimestampTzGetDatum(response->sent_at));
	dp_run(DP_SQL_RECORD_INQUIRY, &params);
	if (!stored)
		dp_event_write(account->server_name, ask->ref_id, "unstored",
					   "this database cannot hold the reply as jsonb", response);
}

/*
 * Keep a reply's bytes whose outcome cannot be written now, so that they
 * survive this worker.
 */
void
dp_record_bytes(const DpAsk *ask, const DpAccount *account,
					  const DpResponse *response)
{
	dp_event_write(account->server_name, ask->ref_id, "unstored",
				   "the outcome could not be written yet; it is tried again", response);
}
