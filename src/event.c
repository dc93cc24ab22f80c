/*-------------------------------------------------------------------------
 *
 * event.c
 *	  What happened besides, as it is written in digipay_event.
 *
 * Runs in the transaction that the caller has begun (statement.h).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "event.h"
#include "statement.h"

/* Write an event, with the bytes that came. */
void
dp_event_write(const char *server, const char *ref_id, const char *kind, const char *note,
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
