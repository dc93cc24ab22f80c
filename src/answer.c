/*-------------------------------------------------------------------------
 *
 * answer.c
 *	  What a session is told when its request has come back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "answer.h"
#include "charset.h"
#include "problem.h"
#include "state.h"

/* Replace all that is not printable ASCII. */
static void
keep_ascii(char *text)
{
	for (char *p = text; *p; p++)
	{
		if (*p < ' ' || *p > '~')
			*p = '?';
	}
}

/* Word digipay_health's answer. */
static void
word_probe(const DpResponse *response, const DpReply *reply, DpAnswer *answer)
{
	DpProbe    *probe = &answer->probe;
	const char *words = !response->complete ? response->error :
		reply->message != NULL ? reply->message : reply->reason;

	answer->kind = DP_ANSWER_PROBE;
	probe->stage = response->stage;
	probe->complete = response->complete;
	probe->trusted = reply->trusted;
	probe->tls = response->tls;
	probe->http_status = response->http_status;
	strlcpy(probe->address, response->address, sizeof(probe->address));
	strlcpy(probe->rc, reply->rc != NULL ? reply->rc : "", sizeof(probe->rc));
	/* of the provider's words, only what every encoding has */
	strlcpy(probe->message, words != NULL ? words : "", sizeof(probe->message));
	keep_ascii(probe->message);
	keep_ascii(probe->rc);
}

/* Word the answer to a payment that could not leave. */
static void
word_not_sent(const DpAsk *ask, const DpResponse *response, DpProblem *problem)
{
	dp_problem_set(problem, DP_ERRCODE_NOT_SENT,
				   psprintf("payment \"%s\" was not sent: the provider could not be reached",
							ask->ref_id));
	dp_problem_detail(problem, "The reason: %s.", response->error);
	dp_problem_hint(problem,
					"Nothing has been paid; call digipay_pay again with the same ref_id once digipay_health() is content.");
}

/* Word the answer to an inquiry that brought nothing. */
static void
word_no_inquiry(const DpAsk *ask, const DpResponse *response, const DpReply *reply,
				DpProblem *problem)
{
	dp_problem_set(problem, DP_ERRCODE_NO_ANSWER,
				   psprintf("the inquiry \"%s\" had no trustworthy answer", ask->ref_id));
	dp_problem_detail(problem, "The reason: %s.",
					  response->complete ? reply->reason : response->error);
	dp_problem_hint(problem,
					"Call digipay_inquire again, with the same ref_id; digipay_health() shows what is wrong if it stays so.");
}

/* What the provider says of itself, in what this database can hold; palloc'd. */
static char *
provider_words(const DpReply *reply)
{
	char	   *words = reply->message != NULL ? dp_from_utf8(reply->message) : NULL;

	if (words == NULL && reply->message != NULL)
	{
		words = pstrdup(reply->message);
		keep_ascii(words);
	}
	if (words == NULL)
		return psprintf("rc %s", reply->rc);
	return reply->rc != NULL ? psprintf("rc %s, \"%s\"", reply->rc, words) : words;
}

/* Why a call about the account brought nothing: the provider's words, or ours. */
const char *
dp_answer_reason(const DpResponse *response, const DpReply *reply)
{
	if (!response->complete)
		return response->error;
	if (reply->trusted)
		return provider_words(reply);
	if (reply->message != NULL)
		return psprintf("%s; the provider says: %s", reply->reason, provider_words(reply));
	return reply->reason;
}

/* What to do about it: the provider's refusals tell, else as the caller says. */
static const char *
what_to_do(const DpReply *reply, const char *otherwise)
{
	const char *advice = reply->trusted ? dp_refusal_advice(reply->rc) : NULL;

	return advice == NULL ? otherwise :
		psprintf("%c%s.", pg_toupper((unsigned char) advice[0]), advice + 1);
}

/* Word the answer to the question for the balance. */
static void
word_balance(const DpResponse *response, const DpReply *reply, DpAnswer *answer)
{
	if (reply->trusted && reply->state == DP_SUCCEEDED)
	{
		answer->kind = DP_ANSWER_AMOUNT;
		strlcpy(answer->amount, reply->deposit, sizeof(answer->amount));
		return;
	}
	answer->kind = DP_ANSWER_PROBLEM;
	dp_problem_set(&answer->problem, DP_ERRCODE_NO_ANSWER,
				   "the question for the balance had no trustworthy answer");
	dp_problem_detail(&answer->problem, "The reason: %s.", dp_answer_reason(response, reply));
	dp_problem_hint(&answer->problem,
					what_to_do(reply, "Call digipay_balance again; digipay_health() shows what is wrong if it stays so."));
}

/* Word the answer to the question for the price list. */
static void
word_list(const DpResponse *response, const DpReply *reply, DpAnswer *answer)
{
	if (response->complete && reply->trusted && reply->state == DP_SUCCEEDED)
		return;
	answer->kind = DP_ANSWER_PROBLEM;
	dp_problem_set(&answer->problem, DP_ERRCODE_NO_ANSWER,
				   "the question for the price list had no trustworthy answer");
	dp_problem_detail(&answer->problem, "The reason: %s.", dp_answer_reason(response, reply));
	dp_problem_hint(&answer->problem,
					what_to_do(reply, response->departed ?
							   "Call again in five minutes: the provider takes one such call in that time." :
							   "Call again; digipay_health() shows what is wrong if it stays so."));
}

/* Word the answer to a deposit: its ticket's row, or that there may be one. */
static void
word_deposit(const DpAsk *ask, const DpResponse *response, const DpReply *reply,
			 DpAnswer *answer)
{
	answer->ticket = ask->ticket;
	if (!response->departed)
	{
		answer->kind = DP_ANSWER_PROBLEM;
		dp_problem_set(&answer->problem, DP_ERRCODE_NOT_SENT,
					   "the deposit was not asked for: the provider could not be reached");
		dp_problem_detail(&answer->problem, "The reason: %s.", response->error);
		dp_problem_hint(&answer->problem, "No ticket has been opened; call digipay_deposit again once digipay_health() is content.");
	}
	else if (!response->complete || !reply->trusted)
	{
		answer->kind = DP_ANSWER_PROBLEM;
		dp_problem_set(&answer->problem, DP_ERRCODE_NO_ANSWER,
					   "the deposit had no trustworthy answer; a ticket may have been opened");
		dp_problem_detail(&answer->problem, "The reason: %s.  It is number " INT64_FORMAT " of digipay_ticket.",
						  dp_answer_reason(response, reply), ask->ticket);
		dp_problem_hint(&answer->problem, "Look at the provider's own list of tickets before you call digipay_deposit again, and transfer nothing on the strength of this.");
	}
}

/* Word the answer of which nothing could be written. */
void
dp_answer_unwritten(const DpAsk *ask, DpProblem *problem)
{
	dp_problem_set(problem, DP_ERRCODE_NO_ANSWER,
				   "the answer could not be written to the database");
	if (ask->command == DP_DEPOSIT)
	{
		dp_problem_detail(problem, "A deposit ticket may have been opened; it is number " INT64_FORMAT " of digipay_ticket.",
						  ask->ticket);
		dp_problem_hint(problem, "See the server's log; the ticket's row is written as soon as that is possible.");
	}
	else
		dp_problem_hint(problem, "See the server's log; then call again.");
}

/*
 * Word the answer: look at the row, or what there is instead of one.
 */
void
dp_answer_word(const DpAsk *ask, const DpResponse *response, const DpReply *reply,
			   DpAnswer *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->kind = DP_ANSWER_ROW;
	if (ask->command == DP_PROBE)
		word_probe(response, reply, answer);
	else if (ask->command == DP_BALANCE)
		word_balance(response, reply, answer);
	else if (ask->command == DP_DEPOSIT)
		word_deposit(ask, response, reply, answer);
	else if (ask->command == DP_PRICE_LIST)
		word_list(response, reply, answer);
	else if (ask->command == DP_PAY && !response->departed)
	{
		answer->kind = DP_ANSWER_PROBLEM;
		word_not_sent(ask, response, &answer->problem);
	}
	else if (ask->command == DP_INQUIRE && (!response->complete || !reply->trusted))
	{
		answer->kind = DP_ANSWER_PROBLEM;
		word_no_inquiry(ask, response, reply, &answer->problem);
	}
}
