/*-------------------------------------------------------------------------
 *
 * state.c
 *	  What the provider's words mean for a payment.
 *
 * Everything here is a table or a pure function over one: no database, no
 * memory, no error.  The rule behind every line: a payment is only called
 * rejected or failed when the provider has said so consistently; whatever is
 * odd is "unknown", since money may have moved.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "state.h"

/* In the order of DpState. */
static const char *const state_names[] = {
	"queued", "sending", "not_sent", "pending", "unknown", "succeeded",
	"failed", "rejected", "refunded", "cancelled", "review"
};

/*
 * The response codes.  A code that is not listed is the last row.
 *
 * A status question that is itself refused (40-45, 85 and the like) says
 * nothing about the payment, and 50 to a status question means "not found",
 * which is no outcome either.
 */
#define OPEN(code, text, as_state) \
	{code, text, DP_STATUS_PENDING, DP_CREATED_YES, as_state, as_state, as_state}
#define FAILED(code, text) \
	{code, text, DP_STATUS_GAGAL, DP_CREATED_YES, DP_FAILED, DP_FAILED, DP_FAILED}
#define DOUBTFUL(code, text) \
	{code, text, DP_STATUS_GAGAL, DP_CREATED_MAYBE, DP_UNKNOWN, DP_UNKNOWN, DP_UNKNOWN}
#define REFUSED(code, text) \
	{code, text, DP_STATUS_GAGAL, DP_CREATED_NO, DP_REJECTED, DP_NO_CHANGE, DP_NO_CHANGE}
#define REJECTED(code, text) \
	{code, text, DP_STATUS_GAGAL, DP_CREATED_NO, DP_REJECTED, DP_REJECTED, DP_REJECTED}

static const DpResponseCode response_codes[] = {
	{"00", "success", DP_STATUS_SUKSES, DP_CREATED_YES,
	DP_SUCCEEDED, DP_SUCCEEDED, DP_SUCCEEDED},
	DOUBTFUL("01", "timeout"),
	FAILED("02", "transaction failed"),
	OPEN("03", "pending", DP_PENDING),
	REFUSED("40", "payload error"),
	REFUSED("41", "invalid signature"),
	REFUSED("42", "could not process: username"),
	REFUSED("43", "product not found or not active"),
	REFUSED("44", "deposit too low"),
	REFUSED("45", "unknown IP address"),
	REFUSED("46", "refused"),
	REFUSED("47", "transaction exists at another buyer"),
	REFUSED("48", "refused"),
	{"49", "ref_id not unique", DP_STATUS_GAGAL, DP_CREATED_NO,
	DP_REVIEW, DP_NO_CHANGE, DP_REVIEW},
	{"50", "transaction not found", DP_STATUS_GAGAL, DP_CREATED_YES,
	DP_FAILED, DP_NO_CHANGE, DP_FAILED},
	FAILED("51", "number blocked"),
	FAILED("52", "wrong number or prefix"),
	FAILED("53", "product closed"),
	FAILED("54", "wrong customer number"),
	FAILED("55", "product down"),
	REJECTED("56", "deposit limit"),
	FAILED("57", "wrong number of digits"),
	FAILED("58", "cut-off"),
	FAILED("59", "wrong destination"),
	FAILED("60", "bill not available"),
	REFUSED("61", "no deposit yet"),
	REJECTED("62", "seller down"),
	REJECTED("63", "no multiple transaction"),
	REJECTED("64", "deposit ticket refused"),
	REJECTED("65", "limit of multiple transactions"),
	REJECTED("66", "seller's cut-off"),
	REJECTED("67", "seller not verified"),
	REJECTED("68", "out of stock"),
	REJECTED("69", "price above the seller's"),
	DOUBTFUL("70", "biller timeout"),
	FAILED("71", "product unstable"),
	FAILED("72", "service to be ended first"),
	FAILED("73", "usage above the limit"),
	{"74", "refunded", DP_STATUS_GAGAL, DP_CREATED_YES,
	DP_REFUNDED, DP_REFUNDED, DP_REFUNDED},
	REFUSED("80", "account blocked by the seller"),
	REFUSED("81", "seller blocked"),
	REFUSED("82", "account not verified"),
	REFUSED("83", "price-list limit"),
	FAILED("84", "wrong nominal"),
	{"85", "transaction limit", DP_STATUS_GAGAL, DP_CREATED_YES,
	DP_FAILED, DP_NO_CHANGE, DP_FAILED},
	FAILED("86", "limit of number checks"),
	REJECTED("87", "amount not allowed"),
	REFUSED("88", "account not ready"),
	OPEN("99", "router issue", DP_PENDING),
	{NULL, "any other code", DP_STATUS_NONE, DP_CREATED_MAYBE,
	DP_UNKNOWN, DP_UNKNOWN, DP_UNKNOWN},
};

/* A state's label in SQL. */
const char *
dp_state_name(DpState state)
{
	return state_names[state];
}

/* The state of that label; false when there is none. */
bool
dp_state_from_name(const char *name, DpState *state)
{
	for (int i = 0; i < (int) lengthof(state_names); i++)
	{
		if (strcmp(state_names[i], name) == 0)
		{
			*state = (DpState) i;
			return true;
		}
	}
	return false;
}

/* Is nothing more expected to happen by itself?  (review is parked) */
bool
dp_state_is_final(DpState state)
{
	return !(state == DP_QUEUED || state == DP_SENDING ||
			 state == DP_PENDING || state == DP_UNKNOWN);
}

/* May digipay_pay send a payment that it finds in this state? */
bool
dp_state_may_leave(DpState state)
{
	return state == DP_NOT_SENT || state == DP_QUEUED;
}

/* May digipay_retry send a payment in this state? */
bool
dp_state_may_be_retried(DpState state)
{
	return state == DP_NOT_SENT || state == DP_REJECTED || state == DP_CANCELLED;
}

/* Is the provider asked about a payment in this state, without being told to? */
bool
dp_state_is_asked_about(DpState state)
{
	return state == DP_PENDING || state == DP_UNKNOWN;
}

/*
 * What a trustworthy status reply or call-back does to a payment: states in the
 * order of DpState, then a review that came of a contradiction; events in the
 * order of DpEvent.
 *
 * A payment that has not left under this database's hand, and that the provider
 * knows all the same, has been made by somebody else: what is queued takes that
 * outcome, what was called not sent or cancelled is for a person.  Nothing is
 * done to a payment on its way: its own reply comes first, and if it does not,
 * the provider is asked.
 */
#define KEEP		{DP_KEEP, DP_QUEUED}
#define NOTE		{DP_NOTE, DP_QUEUED}
#define DOUBT		{DP_CONTRADICT, DP_REVIEW}
#define TO(state)	{DP_CHANGE, state}

static const struct
{
	DpEffect	effect;
	DpState		to;
}			transitions[DP_REVIEW + 2][DP_EVENT_COUNT] = {
	/* nothing, succeeded, failed, rejected, refunded, pending, doubtful, not found, not unique */
	[DP_QUEUED] = {NOTE, TO(DP_SUCCEEDED), TO(DP_FAILED), NOTE, TO(DP_REFUNDED),
	TO(DP_PENDING), TO(DP_UNKNOWN), NOTE, TO(DP_REVIEW)},
	[DP_SENDING] = {NOTE, NOTE, NOTE, NOTE, NOTE, NOTE, NOTE, NOTE, NOTE},
	[DP_NOT_SENT] = {NOTE, DOUBT, DOUBT, NOTE, DOUBT, DOUBT, DOUBT, NOTE, DOUBT},
	[DP_PENDING] = {NOTE, TO(DP_SUCCEEDED), TO(DP_FAILED), TO(DP_FAILED), TO(DP_REFUNDED),
	KEEP, NOTE, NOTE, TO(DP_REVIEW)},
	[DP_UNKNOWN] = {NOTE, TO(DP_SUCCEEDED), TO(DP_FAILED), TO(DP_REJECTED), TO(DP_REFUNDED),
	TO(DP_PENDING), NOTE, NOTE, TO(DP_REVIEW)},
	[DP_SUCCEEDED] = {NOTE, KEEP, DOUBT, DOUBT, TO(DP_REFUNDED), NOTE, NOTE, NOTE, NOTE},
	[DP_FAILED] = {NOTE, DOUBT, KEEP, KEEP, NOTE, NOTE, NOTE, NOTE, NOTE},
	[DP_REJECTED] = {NOTE, DOUBT, DOUBT, KEEP, DOUBT, DOUBT, NOTE, NOTE, NOTE},
	[DP_REFUNDED] = {NOTE, NOTE, NOTE, NOTE, KEEP, NOTE, NOTE, NOTE, NOTE},
	[DP_CANCELLED] = {NOTE, DOUBT, DOUBT, NOTE, DOUBT, DOUBT, DOUBT, NOTE, DOUBT},
	[DP_REVIEW] = {NOTE, TO(DP_SUCCEEDED), TO(DP_FAILED), TO(DP_FAILED), TO(DP_REFUNDED),
	TO(DP_PENDING), NOTE, NOTE, KEEP},
	[DP_REVIEW + 1] = {NOTE, NOTE, NOTE, NOTE, NOTE, NOTE, NOTE, NOTE, NOTE},
};

/*
 * What the event does to a payment in that state; contradicted is for a review
 * that a contradiction led to.  *to is set where the effect is a change.
 */
DpEffect
dp_transition(DpState from, bool contradicted, DpEvent event, DpState *to)
{
	int			row = from == DP_REVIEW && contradicted ? DP_REVIEW + 1 : from;

	*to = transitions[row][event].to;
	return transitions[row][event].effect;
}

/*
 * Which status word is this?  Exact: a word in another case is not one that
 * the provider documents.  The English words are those of its Malaysian branch,
 * which speaks both dialects: so either set is understood in either dialect, and
 * a server needs no option for where its provider is.
 */
DpStatusWord
dp_status_word(const char *status)
{
	static const struct
	{
		const char *text;
		DpStatusWord word;
	}			words[] = {
		{"Sukses", DP_STATUS_SUKSES}, {"Success", DP_STATUS_SUKSES},
		{"Gagal", DP_STATUS_GAGAL}, {"Failed", DP_STATUS_GAGAL},
		{"Pending", DP_STATUS_PENDING}, {"Processing", DP_STATUS_PENDING},
	};

	if (status != NULL)
	{
		for (int i = 0; i < (int) lengthof(words); i++)
		{
			if (strcmp(words[i].text, status) == 0)
				return words[i].word;
		}
	}
	return DP_STATUS_NONE;
}

/* The Indonesian word, or NULL. */
const char *
dp_status_word_name(DpStatusWord word)
{
	static const char *const names[] = {NULL, "Sukses", "Gagal", "Pending"};

	return names[word];
}

/* The row of a code; the last row when it has none of its own.  Never NULL. */
const DpResponseCode *
dp_response_code(const char *rc)
{
	const DpResponseCode *row = response_codes;

	while (row->rc != NULL && (rc == NULL || strcmp(row->rc, rc) != 0))
		row++;
	return row;
}

/* The i-th row, NULL behind the last; for the view digipay_response_code. */
const DpResponseCode *
dp_response_code_at(int i)
{
	return i < (int) lengthof(response_codes) ? &response_codes[i] : NULL;
}

/*
 * What to do about one of the codes 40 to 45, with which the provider refuses a
 * request before it looks at what it asks for; NULL for other codes.  Such a
 * reply may lack the ref_id.
 */
const char *
dp_refusal_advice(const char *rc)
{
	static const char *const advice[] = {
		"check endpoint and dialect: the provider does not understand the request",
		"check user name and key",
		"check user name and key",
		"check the product code",
		"top up the deposit",
		"let the provider enter this server's address in its list",
	};

	if (rc == NULL || strlen(rc) != 2 || rc[0] != '4' || rc[1] < '0' || rc[1] > '5')
		return NULL;
	return advice[rc[1] - '0'];
}

/*
 * Does the HTTP status let the body count?  2xx does, and 4xx, by which the
 * provider may wrap its refusals; not "try later" (408, 425, 429), and nothing
 * that a gateway or a broken server says of itself.
 */
static bool
http_status_counts(int http_status)
{
	if (http_status == 408 || http_status == 425 || http_status == 429)
		return false;
	return (http_status >= 200 && http_status < 300) ||
		(http_status >= 400 && http_status < 500);
}

/*
 * What is consistent in code, word and HTTP status; NULL, with the reason, when
 * they contradict each other or are not documented.
 */
static const DpResponseCode *
consistent(const char *rc, DpStatusWord word, int http_status, const char **reason)
{
	const DpResponseCode *code = dp_response_code(rc);

	*reason = NULL;
	if (!http_status_counts(http_status))
		*reason = "the HTTP status does not go with an answer";
	else if (rc == NULL)
		*reason = "the reply has no rc";
	else if (word == DP_STATUS_NONE)
		*reason = "the reply has no known status";
	else if (code->rc == NULL && word == DP_STATUS_PENDING)
		code = dp_response_code("03");	/* Pending is never an outcome */
	else if (code->rc == NULL)
		*reason = "the response code is not documented";
	else if (code->status != word)
		*reason = "rc and status contradict each other";
	else if (word == DP_STATUS_SUKSES && http_status >= 300)
		*reason = "the HTTP status contradicts a success";
	return *reason == NULL ? code : NULL;
}

/*
 * What a payment becomes whose reply says this.  True when the reply can be
 * believed; *reason says why the state is unknown or review, and is NULL
 * otherwise.  That the reply is about this payment (its ref_id, customer_no and
 * code) is the caller's to have checked.
 */
bool
dp_conclude_pay(const char *rc, const char *status, int http_status,
				DpState *state, const char **reason)
{
	const DpResponseCode *code = consistent(rc, dp_status_word(status),
											http_status, reason);

	*state = code != NULL ? code->on_pay : DP_UNKNOWN;
	if (code == NULL)
		return false;
	if (code->on_pay == DP_UNKNOWN)
		*reason = "the provider does not know the outcome";
	else if (code->on_pay == DP_REVIEW)
		*reason = "the provider already has this ref_id, perhaps from an earlier payment";
	return true;
}

/* Does the message say that the provider does not know the transaction? */
static bool
says_not_found(const char *message)
{
	return message != NULL && pg_strcasecmp(message, "Data belum ada") == 0;
}

/*
 * What a status reply, or a call-back, says about its payment.  True when it
 * can be believed; *reason says why it is doubtful or says nothing, and is NULL
 * otherwise.
 */
bool
dp_conclude_event(const char *rc, const char *status, const char *message,
				  int http_status, bool webhook, DpEvent *event, const char **reason)
{
	static const DpEvent events[] = {
		[DP_QUEUED] = DP_EVENT_NOTHING,
		[DP_SENDING] = DP_EVENT_NOTHING,
		[DP_NOT_SENT] = DP_EVENT_NOTHING,
		[DP_PENDING] = DP_EVENT_PENDING,
		[DP_UNKNOWN] = DP_EVENT_DOUBTFUL,
		[DP_SUCCEEDED] = DP_EVENT_SUCCEEDED,
		[DP_FAILED] = DP_EVENT_FAILED,
		[DP_REJECTED] = DP_EVENT_REJECTED,
		[DP_REFUNDED] = DP_EVENT_REFUNDED,
		[DP_CANCELLED] = DP_EVENT_NOTHING,
		[DP_REVIEW] = DP_EVENT_NOT_UNIQUE,
	};
	DpStatusWord word = dp_status_word(status);
	const DpResponseCode *code = consistent(rc, word, http_status, reason);
	int			conclusion;

	*event = DP_EVENT_NOTHING;
	if (code == NULL)
	{
		/* odd words are doubtful; an answer of a gateway, or none, is nothing */
		if (rc != NULL && word != DP_STATUS_NONE && http_status_counts(http_status))
			*event = DP_EVENT_DOUBTFUL;
		return false;
	}
	if (!webhook && word == DP_STATUS_GAGAL &&
		(strcmp(rc, "50") == 0 || says_not_found(message)))
	{
		*event = DP_EVENT_NOT_FOUND;
		*reason = "the provider does not know this ref_id";
		return true;
	}
	conclusion = webhook ? code->on_webhook : code->on_status;
	if (conclusion != DP_NO_CHANGE)
		*event = events[conclusion];
	if (*event == DP_EVENT_NOTHING)
		*reason = "the answer says nothing about the payment";
	else if (*event == DP_EVENT_DOUBTFUL)
		*reason = "the provider does not know the outcome";
	else if (*event == DP_EVENT_NOT_UNIQUE)
		*reason = "the provider already has this ref_id, perhaps from an earlier payment";
	return true;
}

/* Does the provider ask for a pause?  (HTTP 429, or its limit of transactions) */
bool
dp_limit_reached(const char *rc, int http_status)
{
	return http_status == 429 || (rc != NULL && strcmp(rc, "85") == 0);
}

/*
 * Can the answer to an inquiry be believed?  No money depends on the finer
 * points, so a failure with an undocumented code is an answer, too.
 */
bool
dp_conclude_inquiry(const char *rc, const char *status, int http_status,
					const char **reason)
{
	DpStatusWord word = dp_status_word(status);

	if (consistent(rc, word, http_status, reason) != NULL)
		return true;
	if (rc != NULL && word == DP_STATUS_GAGAL && http_status_counts(http_status) &&
		dp_response_code(rc)->rc == NULL)
	{
		*reason = NULL;
		return true;
	}
	return false;
}

/*
 * What the answer to a call about the account says: succeeded with what was asked
 * for, or rejected.  Wrong is what is wrong with what was asked for, where it is
 * not there as it should be.  True when the answer can be believed; else *reason
 * says why not, and the state is left alone.
 *
 * Where the call has consequences, only a code by which the provider certainly has
 * not done it is a refusal; any other may stand for something done.
 */
bool
dp_conclude_account(const char *rc, const char *wrong, int http_status,
					bool consequential, DpState *state, const char **reason)
{
	DpState		of_payment;

	*reason = NULL;
	if (rc == NULL && consequential)
		*reason = "the reply has no rc";
	else if (rc == NULL || strcmp(rc, "00") == 0)
	{
		*reason = http_status < 200 || http_status >= 300 ?
			"the HTTP status does not go with an answer" : wrong;
		if (*reason == NULL)
			*state = DP_SUCCEEDED;
	}
	else if (!consequential)
		*state = DP_REJECTED;
	else if (dp_conclude_pay(rc, "Gagal", http_status, &of_payment, reason))
	{
		if (of_payment == DP_REJECTED || of_payment == DP_FAILED)
			*state = DP_REJECTED;
		else
			*reason = "the response code does not go with this call";
	}
	return *reason == NULL;
}
