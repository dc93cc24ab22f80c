/*-------------------------------------------------------------------------
 *
 * ticket.c
 *	  Deposit tickets, written down before they are asked for.
 *
 * A ticket moves no money by itself, but people do on the strength of it, and
 * asking twice opens two.  So its row is committed before the request leaves, as
 * a payment's is, and says in the end whether a ticket may have been opened.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datum.h"
#include "utils/timestamp.h"

#include "charset.h"
#include "event.h"
#include "journal.h"
#include "statement.h"
#include "ticket.h"

/* Write down what is about to be asked for; the ticket's number. */
int64
dp_ticket_intend(const DpAsk *ask, const DpAccount *account)
{
	DpParams	params = {0};

	dp_param_name(&params, account->server_name);
	dp_param_text(&params, account->account);
	dp_param(&params, NameGetDatum(&ask->requested_by));
	dp_param_text(&params, ask->amount);
	dp_param_text(&params, ask->bank);
	dp_param_text(&params, ask->owner_name);
	(void) dp_run(DP_SQL_INTEND_TICKET, &params);
	return dp_result_long(1);
}

/* What the ticket's row is to say of itself. */
static const char *
state_of(const DpResponse *response, const DpReply *reply)
{
	if (!response->departed)
		return "not_sent";
	if (!response->complete || !reply->trusted)
		return "unknown";
	return reply->state == DP_SUCCEEDED ? "open" : "refused";
}

/* Add text of the provider's; NULL where this database cannot hold it. */
static void
add_text(DpParams *params, const char *text)
{
	dp_param_text(params, text != NULL ? dp_from_utf8(text) : NULL);
}

/*
 * Write what has become of it.  Nothing here raises because of what the provider
 * says: what cannot be held is left out, and in the event.
 */
void
dp_ticket_outcome(const DpAsk *ask, const DpAccount *account,
				  const DpResponse *response, const DpReply *reply)
{
	static const DpReply nothing;
	bool		trusted = response->complete && reply->trusted;
	const char *error = !response->complete ? response->error :
		reply->trusted ? NULL : reply->reason;
	const DpReply *said = trusted ? reply : &nothing;
	DpParams	params = {0};
	Datum		jsonb;
	bool		stored;

	dp_param(&params, Int64GetDatum(ask->ticket));
	dp_param_text(&params, state_of(response, reply));
	dp_param_text(&params, said->rc);
	dp_param_text(&params, said->amount);
	add_text(&params, said->notes);
	add_text(&params, said->message);
	stored = said->data == NULL || dp_json_to_jsonb(said->data, &jsonb);
	if (said->data != NULL && stored)
		dp_param(&params, jsonb);
	else
		dp_param_null(&params);
	if (!stored)
		error = "this database cannot hold the reply as jsonb; what it cannot hold is missing";
	dp_param_positive(&params, response->http_status);
	dp_param_text(&params, error);
	if (response->departed)
		dp_param(&params, TimestampTzGetDatum(response->sent_at));
	else
		dp_param_null(&params);
	dp_param(&params, BoolGetDatum(trusted));
	(void) dp_run(DP_SQL_RECORD_TICKET, &params);
	if (!trusted || !stored)
		dp_event_write(account->server_name, "",
					   !response->complete ? "transport" : trusted ? "unstored" : "untrusted",
					   psprintf("deposit ticket " INT64_FORMAT ": %s", ask->ticket, error), response);
}

/*
 * After a crash: what was on its way in the last worker's hands is nobody's now.
 * False if somebody has locked some of it.
 */
bool
dp_ticket_recover(TimestampTz before)
{
	DpParams	params = {0};

	dp_param_text(&params, "the worker ended while the answer was awaited; a ticket may have been opened");
	dp_param(&params, TimestampTzGetDatum(before));
	(void) dp_run(DP_SQL_RECOVER_TICKETS, &params);
	return dp_result_long(1) == 0;
}

/*
 * For a session: the ticket's row as last committed, in the current memory
 * context.  False if somebody has deleted it.
 */
bool
dp_ticket_read(int64 ticket, Datum *row)
{
	MemoryContext context = CurrentMemoryContext;
	DpParams	params = {0};
	DpSession	session;
	bool		found;

	dp_session_begin(&session);
	dp_param(&params, Int64GetDatum(ticket));
	found = dp_run(DP_SQL_FIND_TICKET, &params) > 0;
	if (found)
	{
		bool		isnull;
		Datum		value = dp_result(1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		*row = datumCopy(value, false, -1);
		MemoryContextSwitchTo(old);
	}
	dp_session_end(&session);
	return found;
}
