/*
 * desk.c
 *		What is asked about the account: its balance, the price list, a deposit.
 *
 * The path's last part says which; before it, "/v1" alone is the dialect
 * digiflazz.  The refusals, HTTP 400, are objects with rc and message alone:
 *
 *	40	not JSON, a field missing or of the wrong type
 *	42	unknown username
 *	41	wrong signature
 *	83	a price list too soon after the one before (price_list_limit of /control)
 *
 * A script for the call's name and the command "call" answers instead, when
 * these checks are passed.
 */
#include <pthread.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "books.h"
#include "desk.h"
#include "dialect.h"
#include "encode.h"
#include "script.h"
#include "settings.h"

#define DEFAULT_DEPOSIT 10000000	/* hundredths */

typedef enum Call
{
	CALL_BALANCE,
	CALL_PRICE_LIST,
	CALL_DEPOSIT,
	CALL_COUNT
} Call;

static const char *const call_names[CALL_COUNT] = {"cek-saldo", "price-list", "deposit"};

/* What is signed, and the key that says what is wanted */
static const char *const suffixes[DIALECT_COUNT][CALL_COUNT] = {
	[DIALECT_DIGISWITCH] = {"depo", "pricelist", "depo"},
	[DIALECT_DIGIFLAZZ] = {"depo", "pricelist", "deposit"},
};
static const char *const command_keys[DIALECT_COUNT][CALL_COUNT] = {
	[DIALECT_DIGISWITCH] = {"cmd", "command", NULL},
	[DIALECT_DIGIFLAZZ] = {"cmd", "cmd", NULL},
};

/* A product of the postpaid list */
typedef struct Listed
{
	const char *name;
	const char *brand;
	const char *code;
	int			admin;
	int			commission;
} Listed;

static const Listed listed[] = {
	{"Pln Postpaid", "PLN PASCABAYAR", "pln", 2750, 2000},
	{"PDAM Kota Surabaya", "PDAM", "pdam", 2500, 1000},
	{"Telkomsel Halo", "HP PASCABAYAR", "hp", 2500, 1000},
	{"Indihome", "INTERNET PASCABAYAR", "internet", 2500, 1000},
	{"BPJS Kesehatan", "BPJS KESEHATAN", "bpjs", 2500, 1200},
	{"FIF", "MULTIFINANCE", "multifinance", 2500, 1000},
	{"PBB Kota Cimahi", "PBB", "cimahi", 2500, 1500},
	{"PGN", "GAS NEGARA", "pgas", 2500, 1000},
	{"Transvision", "TV PASCABAYAR", "tv", 2500, 1000},
	{"PLN Nontaglis", "PLN NONTAGLIS", "plnnontaglis", 3000, 1000},
	{"E-Money Mandiri", "E-MONEY", "emoney", 1500, 500},
	{"Samsat Jawa Barat", "SAMSAT", "samsat", 5000, 2000},
};

static pthread_mutex_t desk_mutex = PTHREAD_MUTEX_INITIALIZER;
static long calls[CALL_COUNT];
static double listed_at = 0;	/* the last price list, on the steady clock */

/*
 * The call that a path is for; CALL_COUNT when it is none.
 */
static Call
call_of(const char *path)
{
	const char *name = strrchr(path, '/');
	int			i;

	for (i = 0; name && i < CALL_COUNT; i++)
	{
		if (strcmp(name + 1, call_names[i]) == 0)
			return (Call) i;
	}
	return CALL_COUNT;
}

bool
desk_is_call(const char *path)
{
	return call_of(path) != CALL_COUNT;
}

/*
 * The dialect that a call's path is of.
 */
static DialectNumber
dialect_of(const char *path)
{
	const char *name = strrchr(path, '/');

	return name - path >= 3 && strncmp(name - 3, "/v1", 3) == 0 ?
		DIALECT_DIGIFLAZZ : DIALECT_DIGISWITCH;
}

/*
 * The string called key, or NULL.
 */
static const char *
text_of(const cJSON *document, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(document, key));
}

/*
 * Append a key and a text.
 */
static void
add_text(Buffer *json, const char *key, const char *value)
{
	buffer_printf(json, "%s\"%s\":", json->data[json->length - 1] == '{' ? "" : ",", key);
	buffer_add_json(json, value);
}

/*
 * Refuse.
 */
static void
refuse(Buffer *json, const char *rc, const char *message, Answer *answer)
{
	answer->http_status = 400;
	buffer_add_text(json, "{\"data\":{");
	add_text(json, "rc", rc);
	add_text(json, "message", message);
	buffer_add_text(json, "}}");
}

/*
 * Is all there that the call needs, and of the right type?
 */
static bool
well_formed(const cJSON *document, DialectNumber dialect, Call call)
{
	const char *key = command_keys[dialect][call];
	const char *command = key ? text_of(document, key) : NULL;
	const cJSON *amount = cJSON_GetObjectItemCaseSensitive(document, "amount");

	if (text_of(document, "username") == NULL || text_of(document, "sign") == NULL)
		return false;
	switch (call)
	{
		case CALL_BALANCE:
			return command && strcmp(command, "deposit") == 0;
		case CALL_PRICE_LIST:
			return command &&
				(strcmp(command, "pasca") == 0 || strcmp(command, "prepaid") == 0);
		default:
			return cJSON_IsNumber(amount) && amount->valuedouble > 0 &&
				amount->valuedouble == (double) (long long) amount->valuedouble &&
				text_of(document, "bank") && text_of(document, "owner_name");
	}
}

/*
 * Is this list too soon after the one before?
 */
static bool
too_soon(void)
{
	double		now = now_steady();
	bool		soon;

	pthread_mutex_lock(&desk_mutex);
	soon = settings.price_list_limit > 0 && listed_at > 0 &&
		now < listed_at + settings.price_list_limit / 1e3;
	if (!soon)
		listed_at = now;
	pthread_mutex_unlock(&desk_mutex);
	return soon;
}

/*
 * One row of the postpaid list.
 */
static void
add_listed(Buffer *json, DialectNumber dialect, const Listed *row)
{
	bool		df = dialect == DIALECT_DIGIFLAZZ;

	buffer_add_text(json, "{");
	add_text(json, df ? "product_name" : "name", row->name);
	add_text(json, "category", "Pascabayar");
	add_text(json, "brand", row->brand);
	if (df)
		add_text(json, "seller_name", "Toko Pusat");
	buffer_printf(json, ",\"admin\":%d,\"commission\":%d", row->admin, row->commission);
	add_text(json, df ? "buyer_sku_code" : "code", row->code);
	buffer_add_text(json, df ?
					",\"buyer_product_status\":true,\"seller_product_status\":true" :
					",\"status\":true");
	add_text(json, "desc", "-");
	buffer_add_text(json, "}");
}

/*
 * One prepaid product, with all that is documented of one.
 */
static void
add_prepaid(Buffer *json, DialectNumber dialect)
{
	bool		df = dialect == DIALECT_DIGIFLAZZ;

	buffer_add_text(json, "{");
	add_text(json, df ? "product_name" : "name", "Telkomsel 10.000");
	buffer_add_text(json, ",\"category\":\"Pulsa\",\"brand\":\"TELKOMSEL\",\"type\":\"Umum\","
					"\"seller_name\":\"Toko Pusat\",\"price\":10250");
	add_text(json, df ? "buyer_sku_code" : "code", "tsel10");
	buffer_add_text(json, df ?
					",\"buyer_product_status\":true,\"seller_product_status\":true" :
					",\"status\":true");
	buffer_add_text(json, ",\"unlimited_stock\":true,\"stock\":0,\"multi\":true,"
					"\"start_cut_off\":\"23:45\",\"end_cut_off\":\"0:15\",\"desc\":\"-\"}");
}

/*
 * The price list, or the part of it that has one code.
 */
static void
show_list(Buffer *json, DialectNumber dialect, const cJSON *document)
{
	const char *code = text_of(document, "code");
	const char *kind = text_of(document, command_keys[dialect][CALL_PRICE_LIST]);
	const char *separator = "";
	size_t		i;

	buffer_add_text(json, "{\"data\":[");
	if (strcmp(kind, "prepaid") == 0)
	{
		if (code == NULL || strcmp(code, "tsel10") == 0)
			add_prepaid(json, dialect);
	}
	else
	{
		for (i = 0; i < sizeof(listed) / sizeof(listed[0]); i++)
		{
			if (code && strcmp(code, listed[i].code) != 0)
				continue;
			buffer_add_text(json, separator);
			add_listed(json, dialect, &listed[i]);
			separator = ",";
		}
	}
	buffer_add_text(json, "]}");
}

/*
 * Open a deposit ticket: what is to be transferred has three more digits, by
 * which the provider knows it again.
 */
static void
open_ticket(Buffer *json, const cJSON *document)
{
	long long	amount = (long long) cJSON_GetObjectItemCaseSensitive(document, "amount")->valuedouble;
	long		number;

	pthread_mutex_lock(&desk_mutex);
	number = calls[CALL_DEPOSIT];
	pthread_mutex_unlock(&desk_mutex);
	amount += 100 + number % 900;
	buffer_printf(json, "{\"data\":{\"rc\":\"00\",\"amount\":%lld,\"notes\":\"Transfer tepat Rp %lld ke %s\"}}",
				  amount, amount, text_of(document, "bank"));
}

/*
 * Answer a call that was read.
 */
static void
serve(Buffer *json, Call call, DialectNumber dialect, const cJSON *document, Answer *answer)
{
	const char *username = text_of(document, "username");
	char		signature[SIGNATURE_LENGTH + 1];
	long long	balance;
	bool		unused;

	sign(settings.username, settings.api_key, suffixes[dialect][call], signature);
	answer->http_status = 200;
	if (!well_formed(document, dialect, call))
		refuse(json, "40", "Payload tidak valid", answer);
	else if (strcmp(username, settings.username) != 0)
		refuse(json, "42", "Username tidak valid", answer);
	else if (strcmp(text_of(document, "sign"), signature) != 0)
		refuse(json, "41", "Signature tidak valid", answer);
	else if (script_answer(call_names[call], COMMAND_CALL, answer, &unused))
		return;
	else if (call == CALL_PRICE_LIST && too_soon())
		refuse(json, "83", "Anda telah mencapai limitasi pengecekan pricelist, silahkan coba beberapa saat lagi",
			   answer);
	else if (call == CALL_PRICE_LIST)
		show_list(json, dialect, document);
	else if (call == CALL_DEPOSIT)
		open_ticket(json, document);
	else
	{
		if (!books_balance(&balance))
			balance = DEFAULT_DEPOSIT;
		buffer_add_text(json, "{\"data\":{\"deposit\":");
		buffer_add_amount(json, balance);
		buffer_add_text(json, "}}");
	}
}

/*
 * Answer a call about the account.
 */
void
desk_answer(const char *path, const char *body, Answer *answer)
{
	cJSON	   *document = cJSON_ParseWithOpts(body ? body : "", NULL, true);
	Call		call = call_of(path);
	Buffer		json = {0};

	pthread_mutex_lock(&desk_mutex);
	calls[call]++;
	pthread_mutex_unlock(&desk_mutex);
	answer->delay = settings.delay;
	serve(&json, call, dialect_of(path), document, answer);
	if (json.data)
	{
		answer->body = json.data;
		answer->length = json.length;
	}
	cJSON_Delete(document);
}

/*
 * Append how often each call was made, as an object.
 */
void
desk_show(Buffer *json)
{
	int			i;

	pthread_mutex_lock(&desk_mutex);
	for (i = 0; i < CALL_COUNT; i++)
		buffer_printf(json, "%s\"%s\":%ld", i ? "," : "{", call_names[i], calls[i]);
	buffer_add_text(json, "}");
	pthread_mutex_unlock(&desk_mutex);
}

/*
 * Forget the calls.
 */
void
desk_reset(void)
{
	pthread_mutex_lock(&desk_mutex);
	memset(calls, 0, sizeof(calls));
	listed_at = 0;
	pthread_mutex_unlock(&desk_mutex);
}
