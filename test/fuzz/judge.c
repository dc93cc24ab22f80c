/*-------------------------------------------------------------------------
 *
 * judge.c
 *	  Whether an outcome may follow from a reply's bytes.
 *
 * Reads the bytes again, in ways that src/reply.c does not: with the input
 * functions of json and jsonb, and with cJSON from outside.  Knows nothing of
 * src/state.c's tables beyond what they must never say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <cjson/cJSON.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/errcodes.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "charset.h"
#include "fuzz.h"
#include "state.h"

/* The strings that the outcome hangs on. */
typedef enum Decisive
{
	REF_ID, CUSTOMER_NO, CODE, RC, STATUS,
	N_DECISIVE
} Decisive;

/* By dialect, since it is spelled out in each. */
static const char *const decisive_keys[DP_DIALECT_COUNT][N_DECISIVE] = {
	{"ref_id", "customer_no", "code", "rc", "status"},
	{"ref_id", "customer_no", "buyer_sku_code", "rc", "status"}
};
static const char *const name_key[DP_DIALECT_COUNT] = {"name", "customer_name"};
static const char *const balance_key[DP_DIALECT_COUNT] = {"balance", "buyer_last_saldo"};

/* How one of the readers reads a reply. */
typedef struct Reading
{
	const char *reader;
	const char *const *keys;	/* of the dialect */
	const char *value[N_DECISIVE];	/* NULL: absent, or no string */
	int			members;		/* how many data has */
	Jsonb	   *whole;			/* as jsonb; NULL for other readers */
} Reading;

/* cJSON 1.7 reads at most 63 characters of a number. */
#define CJSON_NUMBER_MAX	60

static char *const *
decisive_field(const DpReply *reply, Decisive which)
{
	switch (which)
	{
		case REF_ID:
			return &reply->ref_id;
		case CUSTOMER_NO:
			return &reply->customer_no;
		case CODE:
			return &reply->code;
		case RC:
			return &reply->rc;
		default:
			return &reply->status;
	}
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The text of a jsonb string, or NULL. */
static const char *
string_of(const JsonbValue *value)
{
	return value == NULL || value->type != jbvString ? NULL :
		pnstrdup(value->val.string.val, value->val.string.len);
}

/* A member of a jsonb object, or NULL. */
static JsonbValue *
member_of(JsonbContainer *object, const char *key)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), NULL);
}

/* The whole as jsonb's member "data", or NULL unless it is an object. */
static JsonbContainer *
data_of(Jsonb *whole)
{
	JsonbValue *data = JB_ROOT_IS_OBJECT(whole) ? member_of(&whole->root, "data") : NULL;

	return data == NULL || data->type != jbvBinary ||
		!JsonContainerIsObject(data->val.binary.data) ? NULL : data->val.binary.data;
}

static void
read_by_jsonb(const char *body, Reading *reading)
{
	JsonbContainer *data;

	reading->reader = "jsonb";
	reading->whole = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(body)));
	data = data_of(reading->whole);
	if (data == NULL)
		fuzz_found("jsonb finds no object \"data\" in a trusted reply");
	for (int i = 0; i < N_DECISIVE; i++)
		reading->value[i] = string_of(member_of(data, reading->keys[i]));
	reading->members = JsonContainerSize(data);
}

/* Call one of json's operators that take a key; NULL is NULL. */
static text *
json_member(PGFunction operator, text *object, const char *key)
{
	LOCAL_FCINFO(fcinfo, 2);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(object);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = PointerGetDatum(cstring_to_text(key));
	fcinfo->args[1].isnull = false;
	result = operator(fcinfo);
	return fcinfo->isnull ? NULL : (text *) DatumGetPointer(result);
}

static void
read_by_json(const char *body, Reading *reading)
{
	text	   *whole;
	text	   *data;

	reading->reader = "json";
	whole = DatumGetTextPP(DirectFunctionCall1(json_in, CStringGetDatum(body)));
	data = json_member(json_object_field, whole, "data");
	if (data == NULL || *VARDATA_ANY(data) != '{')
		fuzz_found("json finds no object \"data\" in a trusted reply");
	for (int i = 0; i < N_DECISIVE; i++)
	{
		text	   *value = json_member(json_object_field, data, reading->keys[i]);

		if (value != NULL && *VARDATA_ANY(value) == '"')
			reading->value[i] = text_to_cstring(json_member(json_object_field_text,
															data, reading->keys[i]));
	}
	reading->members = -1;
}

/*
 * May a reader of this database refuse a reply that is JSON, for this?  A
 * number may be beyond numeric, and an escape beyond the encoding.
 */
static bool
is_limit(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE ||
		sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		((sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER ||
		  sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED) && GetDatabaseEncoding() != PG_UTF8);
}

/* Read by one of the above; false if the database cannot hold the reply. */
static bool
read_by(void (*reader) (const char *, Reading *), const char *body, Reading *reading)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		reader(body, reading);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (!is_limit(error->sqlerrcode))
			fuzz_found("%s refuses a trusted reply: %s", reading->reader, error->message);
	}
	PG_END_TRY();
	return done;
}

/* A copy in which numbers too long for cJSON are zeros. */
static char *
with_short_numbers(const char *body, size_t len)
{
	char	   *copy = pnstrdup(body, len);
	char	   *p = copy;

	while (*p != '\0')
	{
		size_t		number = strspn(p, "+-.0123456789Ee");

		if (number > CJSON_NUMBER_MAX)
		{
			memset(p, ' ', number);
			*p = '0';
		}
		p += number;
		if (*p == '"')
		{
			for (p++; *p != '\0' && *p != '"'; p++)
			{
				if (*p == '\\' && p[1] != '\0')
					p++;
			}
		}
		if (*p != '\0')
			p++;
	}
	return copy;
}

static void
read_by_cjson(const char *body, size_t len, Reading *reading)
{
	cJSON	   *root = cJSON_ParseWithOpts(with_short_numbers(body, len), NULL, true);
	cJSON	   *data = cJSON_GetObjectItemCaseSensitive(root, "data");

	reading->reader = "cJSON";
	if (!cJSON_IsObject(data))
		fuzz_found("cJSON finds no object \"data\" in a trusted reply");
	for (int i = 0; i < N_DECISIVE; i++)
	{
		const char *value =
			cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(data, reading->keys[i]));

		reading->value[i] = value == NULL ? NULL : pstrdup(value);
	}
	reading->members = cJSON_GetArraySize(data);
	cJSON_Delete(root);
}

/* Does the reply say what this reader has read? */
static void
check_agreement(const Reading *reading, const DpReply *reply, bool convert)
{
	for (int i = 0; i < N_DECISIVE; i++)
	{
		const char *ours = *decisive_field(reply, i);

		if (ours != NULL && convert)
			ours = dp_from_utf8(ours);
		if (!same(ours, reading->value[i]))
			fuzz_found("%s: %s reads \"%s\", and the reply has \"%s\"", reading->keys[i],
					   reading->reader, reading->value[i] ? reading->value[i] : "(none)",
					   ours ? ours : "(none)");
	}
}

/* May this outcome follow from what the reader has read? */
static void
check_outcome(const Reading *reading, const DpAsk *ask, const DpResponse *response,
			  DpState state)
{
	const char *const *value = reading->value;
	const char *echo[] = {ask->ref_id, ask->customer_no, ask->code};
	bool		success = same(value[STATUS], "Sukses") || same(value[STATUS], "Success");
	bool		refusing = value[RC] != NULL && strlen(value[RC]) == 2 &&
		value[RC][0] == '4' && strchr("012345", value[RC][1]) != NULL;
	bool		error_object = reading->keys == decisive_keys[DP_DIGIFLAZZ] && refusing &&
		value[STATUS] == NULL && (reading->members == 2 || reading->members == -1);
	bool		failure = same(value[STATUS], "Gagal") || same(value[STATUS], "Failed") ||
		error_object;
	bool		refusal = failure && refusing;

	if (value[RC] == NULL || (value[STATUS] == NULL && !error_object))
		fuzz_found("%s: a reply without rc or status is trusted", reading->reader);
	for (int i = REF_ID; i <= CODE; i++)
	{
		if (!same(value[i], echo[i]) && !(refusal && value[i] == NULL))
			fuzz_found("%s: a reply with another %s is trusted", reading->reader,
					   reading->keys[i]);
	}
	if (response->http_status < 200 || response->http_status >= 500 ||
		(response->http_status >= 300 && response->http_status < 400))
		fuzz_found("a reply with HTTP status %d is trusted", response->http_status);
	switch (state)
	{
		case DP_SUCCEEDED:
			if (!success || !same(value[RC], "00") || response->http_status >= 300)
				fuzz_found("%s: rc %s, status %s, HTTP %d is a success", reading->reader,
						   value[RC], value[STATUS] ? value[STATUS] : "(none)",
						   response->http_status);
			break;
		case DP_REJECTED:
		case DP_FAILED:
		case DP_REFUNDED:
		case DP_REVIEW:
			if (!failure || same(value[RC], "00") || response->http_status == 408 ||
				response->http_status == 429)
				fuzz_found("%s: rc %s, status %s, HTTP %d is a failure", reading->reader,
						   value[RC], value[STATUS] ? value[STATUS] : "(none)",
						   response->http_status);
			break;
		case DP_PENDING:
			if (!same(value[STATUS], "Pending") && !same(value[STATUS], "Processing"))
				fuzz_found("%s: status %s is pending", reading->reader,
						   value[STATUS] ? value[STATUS] : "(none)");
			break;
		case DP_UNKNOWN:
			break;
		default:
			fuzz_found("a reply leads to the state %s", dp_state_name(state));
	}
	if (ask->command != DP_PAY && value[REF_ID] == NULL && state != DP_UNKNOWN)
		fuzz_found("a reply about no ref_id says something about a payment");
}

/* Is what we have of a text field, or an amount, what jsonb has? */
static void
check_text(JsonbContainer *data, const char *key, const char *ours, bool amount)
{
	const JsonbValue *theirs = member_of(data, key);

	if (ours != NULL)
		ours = dp_from_utf8(ours);
	if (ours != NULL && theirs == NULL)
		fuzz_found("%s is not in the reply", key);
	if (theirs != NULL && theirs->type == jbvString && (ours != NULL || !amount) &&
		!same(ours, string_of(theirs)))
		fuzz_found("%s differs from jsonb's", key);
	if (theirs != NULL && theirs->type == jbvNumeric && ours != NULL)
	{
		Datum		number = DirectFunctionCall3(numeric_in, CStringGetDatum(ours),
												 ObjectIdGetDatum(InvalidOid),
												 Int32GetDatum(-1));

		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, number,
											  NumericGetDatum(theirs->val.numeric))))
			fuzz_found("%s is another number than jsonb's", key);
	}
}

/* Is this JSON text the same value? */
static void
check_json(const char *what, const char *ours, JsonbValue *theirs)
{
	Datum		datum;
	Jsonb	   *jsonb;

	if (!dp_json_to_jsonb(ours, &datum))
		fuzz_found("%s is not accepted by jsonb, but the whole is", what);
	jsonb = DatumGetJsonbP(datum);
	if (compareJsonbContainers(&jsonb->root, &JsonbValueToJsonb(theirs)->root) != 0)
		fuzz_found("%s differs from jsonb's", what);
}

/* The fields on which no outcome hangs, by jsonb. */
static void
check_rest(Jsonb *whole, DpDialect dialect, const DpReply *reply)
{
	JsonbContainer *data = data_of(whole);
	JsonbValue *desc = member_of(data, "desc");

	check_json("data", reply->data, member_of(&whole->root, "data"));
	if (reply->desc != NULL && desc == NULL)
		fuzz_found("desc is not in the reply");
	if (reply->desc != NULL)
		check_json("desc", reply->desc, desc);
	else if (desc != NULL && desc->type != jbvNull)
		fuzz_found("desc is lost");
	check_text(data, "message", reply->message, false);
	check_text(data, name_key[dialect], reply->name, false);
	check_text(data, "sn", reply->sn, false);
	check_text(data, "periode", reply->periode, false);
	check_text(data, "price", reply->price, true);
	check_text(data, "selling_price", reply->selling_price, true);
	check_text(data, "admin", reply->admin, true);
	check_text(data, "base_commission", reply->base_commission, true);
	check_text(data, balance_key[dialect], reply->balance, true);
}

/*
 * What holds for every reply, trusted or not: that each field is a string of
 * ours, and can be given to the database without an error.
 */
static void
check_fields(const DpReply *reply)
{
	char	   *texts[] = {
		reply->ref_id, reply->customer_no, reply->code, reply->rc, reply->status,
		reply->message, reply->name, reply->sn, reply->periode, reply->desc, reply->data,
		reply->note
	};
	char	   *amounts[] = {
		reply->price, reply->selling_price, reply->admin, reply->base_commission,
		reply->balance
	};
	Datum		jsonb;

	for (int i = 0; i < (int) lengthof(texts); i++)
	{
		if (texts[i] == NULL)
			continue;
		if (!fuzz_guard_is_string(texts[i], CurrentMemoryContext))
			fuzz_found("a field points elsewhere");
		if (!pg_verify_mbstr(PG_UTF8, texts[i], strlen(texts[i]), true))
			fuzz_found("a field is not UTF-8");
		dp_from_utf8(texts[i]);
	}
	for (int i = 0; i < (int) lengthof(amounts); i++)
	{
		if (amounts[i] == NULL)
			continue;
		if (!fuzz_guard_is_string(amounts[i], CurrentMemoryContext))
			fuzz_found("an amount points elsewhere");
		DirectFunctionCall3(numeric_in, CStringGetDatum(amounts[i]),
							ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	if (reply->data != NULL)
		dp_json_to_jsonb(reply->data, &jsonb);
	if (reply->desc != NULL)
		dp_json_to_jsonb(reply->desc, &jsonb);
}

/*
 * The state that a trusted reply speaks of, whatever was asked; DP_UNKNOWN when
 * it speaks of none.
 */
static DpState
state_spoken_of(const DpAsk *ask, const DpReply *reply)
{
	if (ask->command == DP_PAY)
	{
		if (reply->event != DP_EVENT_NOTHING)
			fuzz_found("the reply to a payment is an event");
		return reply->state;
	}
	if (reply->state != DP_UNKNOWN)
		fuzz_found("what is no reply to a payment has a state");
	if (ask->command == DP_INQUIRE)
	{
		if (reply->event != DP_EVENT_NOTHING)
			fuzz_found("the reply to an inquiry is an event");
		return DP_UNKNOWN;
	}
	switch (reply->event)
	{
		case DP_EVENT_SUCCEEDED:
			return DP_SUCCEEDED;
		case DP_EVENT_FAILED:
			return DP_FAILED;
		case DP_EVENT_REJECTED:
			return DP_REJECTED;
		case DP_EVENT_REFUNDED:
			return DP_REFUNDED;
		case DP_EVENT_PENDING:
			return DP_PENDING;
		case DP_EVENT_NOT_UNIQUE:
			return DP_REVIEW;
		case DP_EVENT_NOT_FOUND:
		case DP_EVENT_DOUBTFUL:
		case DP_EVENT_NOTHING:
			break;
	}
	return DP_UNKNOWN;
}

/*
 * Whether the outcome may follow from the bytes; a finding if it may not.
 * Returns the state that the reply speaks of.
 */
DpState
fuzz_judge(const DpAsk *ask, DpDialect dialect, const DpResponse *response, DpReply *reply)
{
	Reading		reading;
	DpState		state;
	char	   *body;

	check_fields(reply);
	if (!reply->trusted)
	{
		if (reply->state != DP_UNKNOWN || reply->reason == NULL)
			fuzz_found("a reply that is not trusted has a state, or no reason");
		if (reply->event != DP_EVENT_NOTHING && reply->event != DP_EVENT_DOUBTFUL)
			fuzz_found("a reply that is not trusted is an event");
		return DP_UNKNOWN;
	}
	if (!response->complete)
		fuzz_found("a reply that did not come whole is trusted");
	if (memchr(response->body, '\0', response->body_len) != NULL)
		fuzz_found("a reply with a zero byte is trusted");
	state = state_spoken_of(ask, reply);

	memset(&reading, 0, sizeof(reading));
	reading.keys = decisive_keys[dialect];
	read_by_cjson(response->body, response->body_len, &reading);
	check_agreement(&reading, reply, false);
	check_outcome(&reading, ask, response, state);

	body = dp_from_utf8(pnstrdup(response->body, response->body_len));
	if (body == NULL)
		return state;			/* beyond this database's encoding */
	memset(&reading, 0, sizeof(reading));
	reading.keys = decisive_keys[dialect];
	if (read_by(read_by_json, body, &reading))
	{
		check_agreement(&reading, reply, true);
		check_outcome(&reading, ask, response, state);
	}
	memset(&reading, 0, sizeof(reading));
	reading.keys = decisive_keys[dialect];
	if (read_by(read_by_jsonb, body, &reading))
	{
		check_agreement(&reading, reply, true);
		check_outcome(&reading, ask, response, state);
		check_rest(reading.whole, dialect, reply);
	}
	return state;
}
