/*-------------------------------------------------------------------------
 *
 * reply.c
 *	  What came back: from bytes to an outcome.
 *
 * The order matters.  First the bytes (size, UTF-8, no NUL, nesting), then
 * PostgreSQL's JSON parser as the strict judge, which also collects the fields
 * and refuses duplicate keys; then cJSON, which has to read the same in the
 * fields that decide; then what the words mean (state.c).  Whatever fails on
 * the way makes the reply untrusted, and a payment unknown: nothing here calls
 * a payment failed because a reply is odd.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <cjson/cJSON.h>

#include "compat.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "amount.h"
#include "reply.h"
#include "state.h"

/* Deepest nesting of objects and arrays; the documented replies have 5. */
#define DEPTH_MAX		32

/* cJSON 1.7 reads at most this much of a number's text. */
#define CJSON_NUMBER_MAX 60

typedef enum FieldKind
{
	FIELD_DECIDES,				/* a string that the outcome hangs on */
	FIELD_TEXT,
	FIELD_AMOUNT,
	FIELD_JSON					/* kept as it stands */
} FieldKind;

/* One field of the data object. */
typedef struct Field
{
	const char *key;
	FieldKind	kind;
	size_t		offset;			/* of a char * in DpReply */
} Field;

#define AT(member) offsetof(DpReply, member)

#define FIELD_COUNT 15

/*
 * How a dialect calls the fields, and whether it may refuse a request with an
 * error object: rc and message alone.
 *
 * A reply in the other dialect's words lacks the code, which decides, and so is
 * about nothing that was asked.  The status words are no part of this: those of
 * the Malaysian branch are documented for both dialects (state.c).
 */
typedef struct Dialect
{
	bool		error_objects;
	Field		fields[FIELD_COUNT];	/* up to one without a key */
} Dialect;

static const Dialect dialects[DP_DIALECT_COUNT] = {
	[DP_DIGISWITCH] = {
		.error_objects = false,
		.fields = {
			{"ref_id", FIELD_DECIDES, AT(ref_id)},
			{"customer_no", FIELD_DECIDES, AT(customer_no)},
			{"code", FIELD_DECIDES, AT(code)},
			{"rc", FIELD_DECIDES, AT(rc)},
			{"status", FIELD_DECIDES, AT(status)},
			{"message", FIELD_TEXT, AT(message)},
			{"name", FIELD_TEXT, AT(name)},
			{"sn", FIELD_TEXT, AT(sn)},
			{"periode", FIELD_TEXT, AT(periode)},
			{"price", FIELD_AMOUNT, AT(price)},
			{"selling_price", FIELD_AMOUNT, AT(selling_price)},
			{"admin", FIELD_AMOUNT, AT(admin)},
			{"base_commission", FIELD_AMOUNT, AT(base_commission)},
			{"balance", FIELD_AMOUNT, AT(balance)},
			{"desc", FIELD_JSON, AT(desc)},
		},
	},
	[DP_DIGIFLAZZ] = {
		.error_objects = true,
		.fields = {
			{"ref_id", FIELD_DECIDES, AT(ref_id)},
			{"customer_no", FIELD_DECIDES, AT(customer_no)},
			{"buyer_sku_code", FIELD_DECIDES, AT(code)},
			{"rc", FIELD_DECIDES, AT(rc)},
			{"status", FIELD_DECIDES, AT(status)},
			{"message", FIELD_TEXT, AT(message)},
			{"customer_name", FIELD_TEXT, AT(name)},
			{"sn", FIELD_TEXT, AT(sn)},
			{"periode", FIELD_TEXT, AT(periode)},
			{"price", FIELD_AMOUNT, AT(price)},
			{"selling_price", FIELD_AMOUNT, AT(selling_price)},
			{"admin", FIELD_AMOUNT, AT(admin)},
			{"base_commission", FIELD_AMOUNT, AT(base_commission)},
			{"buyer_last_saldo", FIELD_AMOUNT, AT(balance)},
			{"desc", FIELD_JSON, AT(desc)},
		},
	},
};

/* What answers calls about the account, in the same words in both dialects. */
static const Dialect account_words = {
	.error_objects = true,
	.fields = {
		{"rc", FIELD_DECIDES, AT(rc)},
		{"message", FIELD_TEXT, AT(message)},
		{"deposit", FIELD_AMOUNT, AT(deposit)},
		{"amount", FIELD_AMOUNT, AT(amount)},
		{"notes", FIELD_TEXT, AT(notes)},
	},
};

/* Keys of one object, while it is being read. */
typedef struct Keys
{
	char	  **key;
	int			count;
	int			room;
} Keys;

/* A price list, while it is being read: each row is an object with a code. */
typedef struct PriceList
{
	const char *code_key;		/* what the dialect calls that */
	bool		found;			/* data is an array */
	bool		bad_row;		/* one is no object, or has no code */
	bool		in_code;		/* the value of that key is being read */
	char	   *code;			/* of the row being read; NULL: none yet */
	int			rows;
	Keys		codes;
} PriceList;

/* State of the strict parser's actions. */
typedef struct Reading
{
	JsonLexContext *lex;
	const Dialect *dialect;
	DpReply    *reply;
	int			depth;			/* of the object or array that we are in */
	bool		in_data;		/* inside the top object's member "data" */
	bool		data_is_object;
	bool		duplicate;		/* some object has a key twice */
	int			members;		/* how many data has */
	const Field *field;			/* the member of data being read, if we want it */
	const char *value_start;	/* of data, or of a FIELD_JSON */
	const char *data_start;
	Keys		keys[DEPTH_MAX + 1];
	PriceList  *list;			/* NULL: none is expected */
	char	   *text;			/* the reply, escapes beyond ASCII resolved */
	size_t		len;
	char	   *tamed;			/* copy for cJSON: long numbers shortened */
	StringInfoData note;		/* what did not fit */
} Reading;

/*
 * Is the nesting within DEPTH_MAX?  Checked beforehand, by bytes, since the
 * parser would raise an error where the stack ends.
 */
static bool
depth_is_sane(const char *text, size_t len)
{
	int			depth = 0;
	bool		in_string = false;

	for (size_t i = 0; i < len; i++)
	{
		if (in_string)
		{
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				in_string = false;
		}
		else if (text[i] == '"')
			in_string = true;
		else if (text[i] == '{' || text[i] == '[')
		{
			if (++depth > DEPTH_MAX)
				return false;
		}
		else if (text[i] == '}' || text[i] == ']')
			depth--;
	}
	return true;
}

/* The value of four hex digits, -1 if they are not. */
static int
hex4(const char *p, const char *end)
{
	int			value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		unsigned char c = p[i];

		if (!isxdigit(c))
			return -1;
		value = value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}

/*
 * A copy of the text in which escapes beyond ASCII (\uXXXX, and pairs of them)
 * are characters; terminated.  The parsers would turn them into the database's
 * encoding, and raise an error where that cannot be.  NULL if an escape is half
 * a pair.  Escapes of ASCII, \u0000 among them, are left to the parsers.
 */
static char *
without_unicode_escapes(const char *text, size_t *len)
{
	char	   *copy = palloc(*len + 1);
	char	   *to = copy;
	const char *end = text + *len;

	while (text < end)
	{
		int			code;

		if (text[0] != '\\' || text + 1 == end)
		{
			*to++ = *text++;
			continue;
		}
		code = text[1] == 'u' ? hex4(text + 2, end) : -1;
		if (code < 0x80)
		{
			*to++ = *text++;	/* the backslash and what it escapes */
			*to++ = *text++;
			continue;
		}
		text += 6;
		if (code >= 0xDC00 && code <= 0xDFFF)
			return NULL;
		if (code >= 0xD800 && code <= 0xDBFF)
		{
			int			low = end - text >= 6 && text[0] == '\\' && text[1] == 'u' ?
				hex4(text + 2, end) : -1;

			if (low < 0xDC00 || low > 0xDFFF)
				return NULL;
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
			text += 6;
		}
		unicode_to_utf8((pg_wchar) code, (unsigned char *) to);
		to += pg_utf_mblen((unsigned char *) to);
	}
	*to = '\0';
	*len = to - copy;
	return copy;
}

/* For qsort, over pointers to strings. */
static int
compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Add a key to those of its object. */
static void
remember_key(Keys *keys, char *key)
{
	if (keys->count == keys->room)
	{
		keys->room = Max(16, keys->room * 2);
		keys->key = keys->key == NULL ?
			palloc(keys->room * sizeof(char *)) :
			repalloc(keys->key, keys->room * sizeof(char *));
	}
	keys->key[keys->count++] = key;
}

/* Entering an object or an array. */
static void
enter(Reading *reading)
{
	reading->depth++;
	if (reading->depth <= DEPTH_MAX)
		reading->keys[reading->depth].count = 0;
}

/* The parser has come to an object. */
static DpJsonActionResult
on_object_start(void *state)
{
	enter(state);
	DP_JSON_ACTION_DONE;
}

/* The parser has come to an array. */
static DpJsonActionResult
on_array_start(void *state)
{
	enter(state);
	DP_JSON_ACTION_DONE;
}

/* Are we directly in the list, or with one more depth directly in its rows? */
static bool
is_in_list(const Reading *reading, int more)
{
	return reading->list != NULL && reading->list->found && reading->in_data &&
		reading->depth == 2 + more;
}

/* The parser has come to an element of an array. */
static DpJsonActionResult
on_element_start(void *state, bool isnull)
{
	Reading    *reading = state;

	if (is_in_list(reading, 0))
	{
		reading->list->rows++;
		reading->list->code = NULL;
		if (reading->lex->token_type != JSON_TOKEN_OBJECT_START)
			reading->list->bad_row = true;
	}
	DP_JSON_ACTION_DONE;
}

/* An element of an array is over. */
static DpJsonActionResult
on_element_end(void *state, bool isnull)
{
	Reading    *reading = state;

	if (is_in_list(reading, 0))
	{
		if (reading->list->code == NULL)
			reading->list->bad_row = true;
		else
			remember_key(&reading->list->codes, reading->list->code);
	}
	DP_JSON_ACTION_DONE;
}

/* An array is over. */
static DpJsonActionResult
on_array_end(void *state)
{
	((Reading *) state)->depth--;
	DP_JSON_ACTION_DONE;
}

/* Is one of the keys there twice?  Sorts them. */
static bool
has_twice(Keys *keys)
{
	bool		twice = false;

	if (keys->count > 1)
		qsort(keys->key, keys->count, sizeof(char *), compare_keys);
	for (int i = 1; i < keys->count; i++)
	{
		if (strcmp(keys->key[i - 1], keys->key[i]) == 0)
			twice = true;
	}
	return twice;
}

/* Leaving an object: no key may stand in it twice. */
static DpJsonActionResult
on_object_end(void *state)
{
	Reading    *reading = state;
	Keys	   *keys = &reading->keys[reading->depth];

	if (has_twice(keys))
		reading->duplicate = true;
	if (reading->depth == 2 && reading->in_data)
		reading->members = keys->count;
	reading->depth--;
	DP_JSON_ACTION_DONE;
}

/* The field of that name; NULL if the dialect has none. */
static const Field *
find_field(const Dialect *dialect, const char *key)
{
	for (int i = 0; i < FIELD_COUNT && dialect->fields[i].key != NULL; i++)
	{
		if (strcmp(dialect->fields[i].key, key) == 0)
			return &dialect->fields[i];
	}
	return NULL;
}

/* The parser has come to a member of an object. */
static DpJsonActionResult
on_field_start(void *state, char *key, bool isnull)
{
	Reading    *reading = state;

	remember_key(&reading->keys[reading->depth], key);
	if (reading->depth == 1 && strcmp(key, "data") == 0)
	{
		reading->in_data = true;
		reading->data_is_object = reading->lex->token_type == JSON_TOKEN_OBJECT_START;
		if (reading->list != NULL)
			reading->list->found = reading->lex->token_type == JSON_TOKEN_ARRAY_START;
		reading->data_start = reading->lex->token_start;
	}
	else if (reading->depth == 2 && reading->in_data)
	{
		reading->field = find_field(reading->dialect, key);
		reading->value_start = reading->lex->token_start;
	}
	else if (is_in_list(reading, 1))
		reading->list->in_code = strcmp(key, reading->list->code_key) == 0;
	DP_JSON_ACTION_DONE;
}

/* A member of an object is over. */
static DpJsonActionResult
on_field_end(void *state, char *key, bool isnull)
{
	Reading    *reading = state;
	const char *end = reading->lex->prev_token_terminator;

	if (reading->depth == 1 && strcmp(key, "data") == 0)
	{
		reading->in_data = false;
		reading->reply->data = pnstrdup(reading->data_start, end - reading->data_start);
	}
	else if (reading->depth == 2 && reading->in_data)
	{
		const Field *field = find_field(reading->dialect, key);

		if (field != NULL && field->kind == FIELD_JSON && !isnull)
			reading->reply->desc = pnstrdup(reading->value_start, end - reading->value_start);
		else if (reading->field != NULL && !isnull)
			appendStringInfo(&reading->note, "%s%s is not of its type",
							 reading->note.len > 0 ? "; " : "", key);
		reading->field = NULL;
	}
	else if (is_in_list(reading, 1))
		reading->list->in_code = false;
	DP_JSON_ACTION_DONE;
}

/* Does a value of this token fit the field?  Strings come without escapes. */
static bool
value_fits(const Field *field, const char *token, JsonTokenType type)
{
	bool		string = type == JSON_TOKEN_STRING;
	bool		number = type == JSON_TOKEN_NUMBER;

	switch (field->kind)
	{
		case FIELD_DECIDES:
			return string;
		case FIELD_TEXT:
			return string || number;
		case FIELD_AMOUNT:
			return (string || number) && dp_amount_is_numeric(token, number);
		case FIELD_JSON:
			break;
	}
	return false;
}

/* The parser has come to a value that is neither object nor array. */
static DpJsonActionResult
on_scalar(void *state, char *token, JsonTokenType type)
{
	Reading    *reading = state;
	JsonLexContext *lex = reading->lex;

	if (type == JSON_TOKEN_NUMBER && strlen(token) > CJSON_NUMBER_MAX)
	{
		/* by now the lexer stands behind the token */
		char	   *copy = reading->tamed + (lex->prev_token_terminator - reading->text);

		memset(copy - strlen(token), ' ', strlen(token));
		copy[-1] = '0';
	}
	if (reading->field != NULL && reading->depth == 2 &&
		value_fits(reading->field, token, type))
	{
		*(char **) ((char *) reading->reply + reading->field->offset) = token;
		reading->field = NULL;
	}
	if (is_in_list(reading, 1) && reading->list->in_code &&
		type == JSON_TOKEN_STRING && token[0] != '\0')
		reading->list->code = token;
	DP_JSON_ACTION_DONE;
}

/*
 * Run the strict parser over the reply.  Returns what is wrong, or NULL with
 * the reply's fields filled in.
 */
static const char *
read_strictly(Reading *reading, const char *text, size_t len)
{
	JsonSemAction actions = {
		.semstate = reading,
		.object_start = on_object_start,
		.object_end = on_object_end,
		.array_start = on_array_start,
		.array_end = on_array_end,
		.array_element_start = on_element_start,
		.array_element_end = on_element_end,
		.object_field_start = on_field_start,
		.object_field_end = on_field_end,
		.scalar = on_scalar,
	};

	if (!pg_verify_mbstr(PG_UTF8, text, len, true))
		return "the reply is not UTF-8 text";
	if (!depth_is_sane(text, len))
		return "the reply is nested too deeply";
	reading->len = len;
	reading->text = without_unicode_escapes(text, &reading->len);
	if (reading->text == NULL)
		return "the reply is not JSON: half of a surrogate pair";
	reading->tamed = pnstrdup(reading->text, reading->len);
	initStringInfo(&reading->note);
	reading->lex = dp_json_lexer(reading->text, reading->len);
	if (pg_parse_json(reading->lex, &actions) != JSON_SUCCESS)
		return "the reply is not JSON";
	if (reading->duplicate)
		return "the reply has a key twice";
	if (!reading->data_is_object && (reading->list == NULL || !reading->list->found))
		return "the reply has no object \"data\"";
	return NULL;
}

/*
 * Does cJSON read the same in the fields that decide?  It is laxer than the
 * strict parser, so a difference means that one of the two was tricked.
 */
static bool
second_reader_agrees(const Dialect *dialect, const char *text, size_t len,
					 const DpReply *reply)
{
	cJSON	   *root = cJSON_ParseWithLength(text, len);
	cJSON	   *data = cJSON_GetObjectItemCaseSensitive(root, "data");
	bool		agrees = cJSON_IsObject(data);

	for (int i = 0; agrees && i < FIELD_COUNT && dialect->fields[i].key != NULL; i++)
	{
		const Field *field = &dialect->fields[i];
		const char *ours = *(char *const *) ((const char *) reply + field->offset);
		const char *theirs;

		if (field->kind != FIELD_DECIDES)
			continue;
		theirs = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(data, field->key));
		agrees = ours == NULL ? theirs == NULL :
			theirs != NULL && strcmp(ours, theirs) == 0;
	}
	cJSON_Delete(root);
	return agrees;
}

/* Is the echo right?  A missing one is only when may_miss says so. */
static bool
echoed(const char *asked, const char *echo, bool may_miss)
{
	return echo == NULL ? may_miss : strcmp(asked, echo) == 0;
}

/*
 * The status word to go by.  An error object has none, nor an echo, so that only
 * the codes by which the provider says no before it looks at what is asked get
 * it past check_echo: it means Gagal.
 */
static const char *
status_said(const DpReply *reply)
{
	return reply->error_object ? dp_status_word_name(DP_STATUS_GAGAL) : reply->status;
}

/* What the dialect calls a product's code. */
static const char *
code_key(DpDialect dialect)
{
	for (int i = 0; i < FIELD_COUNT; i++)
	{
		if (dialects[dialect].fields[i].offset == AT(code))
			return dialects[dialect].fields[i].key;
	}
	return NULL;
}

/* What is wrong with the reply's being about what was asked, or NULL. */
static const char *
check_echo(const DpAsk *ask, const DpReply *reply)
{
	bool		may_miss = dp_refusal_advice(reply->rc) != NULL &&
		dp_status_word(status_said(reply)) == DP_STATUS_GAGAL;

	if (!echoed(ask->ref_id, reply->ref_id, may_miss))
		return "the reply does not name this ref_id";
	if (!echoed(ask->customer_no, reply->customer_no, may_miss))
		return "the reply does not name this customer_no";
	if (!echoed(ask->code, reply->code, may_miss))
		return "the reply does not name this code";
	return NULL;
}

/* Decide what a well-formed reply about this request means. */
static void
conclude(const DpAsk *ask, const DpResponse *response, DpReply *reply)
{
	const char *status = status_said(reply);

	switch (ask->command)
	{
		case DP_PAY:
			reply->trusted = dp_conclude_pay(reply->rc, status, response->http_status,
											 &reply->state, &reply->reason);
			if (reply->state == DP_REJECTED)
				reply->reason = dp_refusal_advice(reply->rc);
			break;
		case DP_STATUS:
		case DP_WEBHOOK:
			reply->trusted = dp_conclude_event(reply->rc, status, reply->message,
											   response->http_status,
											   ask->command == DP_WEBHOOK,
											   &reply->event, &reply->reason);
			break;
		default:
			reply->trusted = dp_conclude_inquiry(reply->rc, status,
												 response->http_status, &reply->reason);
			break;
	}
}

/*
 * What is wrong with a price list, or NULL.  One that is empty, or has a row that
 * cannot be told from others, is none: whoever believed it would take its
 * products for gone.
 */
static const char *
whats_wrong_with(PriceList *list)
{
	if (!list->found)
		return "the reply has no list";
	if (list->rows == 0)
		return "the price list is empty";
	if (list->bad_row)
		return "a row of the price list has no code";
	if (has_twice(&list->codes))
		return "the price list has a code twice";
	return NULL;
}

/*
 * Decide what a well-formed answer to a call about the account means.  It says
 * nothing of what was asked, so there is no echo to go by.  Where it is a refusal
 * its state is rejected.
 */
static void
conclude_account(DpCommand command, const DpResponse *response, PriceList *list, DpReply *reply)
{
	const char *wrong;

	switch (command)
	{
		case DP_BALANCE:
			wrong = reply->deposit == NULL ? "the reply has no amount in \"deposit\"" : NULL;
			break;
		case DP_DEPOSIT:
			wrong = reply->amount == NULL || !dp_amount_is_positive(reply->amount) ?
				"the reply has no amount to be transferred" : NULL;
			break;
		default:
			wrong = whats_wrong_with(list);
			break;
	}
	reply->trusted = dp_conclude_account(reply->rc, wrong, response->http_status,
										 command == DP_DEPOSIT, &reply->state, &reply->reason);
}

/*
 * Judge a reply that dp_reply_parse has found well-formed: is it about what was
 * asked, and what does it mean?
 */
void
dp_reply_judge(const DpAsk *ask, const DpResponse *response, DpReply *reply)
{
	reply->reason = check_echo(ask, reply);
	if (reply->reason == NULL)
		conclude(ask, response, reply);
	else
		reply->event = DP_EVENT_DOUBTFUL;	/* of a payment, if it is of one */
}

/* Read a response in these words.  False, with the reason, if it is not well-formed. */
static bool
parse(const Dialect *dialect, PriceList *list, const DpResponse *response, DpReply *reply)
{
	Reading		reading;

	memset(reply, 0, sizeof(*reply));
	memset(&reading, 0, sizeof(reading));
	reading.dialect = dialect;
	reading.list = list;
	reading.reply = reply;
	reply->state = DP_UNKNOWN;

	if (!response->complete)
		reply->reason = "no complete reply came";
	else if (response->body_len == 0)
		reply->reason = "the reply is empty";
	else
		reply->reason = read_strictly(&reading, response->body, response->body_len);
	if (reply->reason != NULL)
		return false;
	/* no field decides over a list */
	if (reading.data_is_object &&
		!second_reader_agrees(reading.dialect, reading.tamed, reading.len, reply))
	{
		reply->reason = "the reply reads differently to different parsers";
		return false;
	}
	if (reading.note.len > 0)
		reply->note = reading.note.data;
	reply->error_object = reading.dialect->error_objects && reading.members == 2 &&
		reply->rc != NULL && reply->message != NULL;
	return true;
}

/*
 * Read a response and judge it.  Everything the reply points to is in the
 * current memory context, or lives as long as the program.  Where it is not
 * trusted, reason says why and state is unknown; the fields may be filled in all
 * the same, but mean nothing.
 */
void
dp_reply_read(const DpAsk *ask, DpDialect dialect, const DpResponse *response,
			  DpReply *reply)
{
	if (ask->command == DP_PRICE_LIST || ask->command == DP_BALANCE ||
		ask->command == DP_DEPOSIT)
	{
		PriceList	list = {.code_key = code_key(dialect)};

		if (parse(&account_words, ask->command == DP_PRICE_LIST ? &list : NULL, response, reply))
			conclude_account(ask->command, response, &list, reply);
	}
	else if (dp_reply_parse(dialect, response, reply))
		dp_reply_judge(ask, response, reply);
}

/*
 * Read a response in a dialect, whatever it is about.  False, with the reason,
 * when it is not well-formed.
 */
bool
dp_reply_parse(DpDialect dialect, const DpResponse *response, DpReply *reply)
{
	return parse(&dialects[dialect], NULL, response, reply);
}

/*
 * Is a call-back without "data" the provider's ping?  It has "sed", "hook_id"
 * and "hook" instead.
 */
bool
dp_reply_is_ping(const DpResponse *response)
{
	cJSON	   *root = cJSON_ParseWithLength(response->body, response->body_len);
	bool		ping = cJSON_GetObjectItemCaseSensitive(root, "hook_id") != NULL &&
		cJSON_GetObjectItemCaseSensitive(root, "data") == NULL;

	cJSON_Delete(root);
	return ping;
}
