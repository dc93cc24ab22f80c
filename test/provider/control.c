/*
 * control.c
 *		POST /control: what a test changes while the double runs.
 *
 * The body is an object; each member is one change, made in order.  The first
 * that cannot be made ends it with HTTP 400 and {"error":"..."}.
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "books.h"
#include "buffer.h"
#include "control.h"
#include "encode.h"
#include "fault.h"
#include "script.h"
#include "settings.h"
#include "timer.h"

typedef bool (*ControlCall) (const cJSON *value);

typedef struct ControlKey
{
	const char *key;
	ControlCall call;
} ControlKey;

/*
 * Set a number of milliseconds.
 */
static bool
set_milliseconds(_Atomic int *setting, const cJSON *value)
{
	if (!cJSON_IsNumber(value) || value->valuedouble < 0)
		return false;
	*setting = value->valueint;
	return true;
}

/*
 * Set a switch.
 */
static bool
set_switch(_Atomic bool *setting, const cJSON *value)
{
	if (!cJSON_IsBool(value))
		return false;
	*setting = cJSON_IsTrue(value);
	return true;
}

/*
 * A number is the new delay, null holds every answer until there is a number.
 */
static bool
control_delay(const cJSON *value)
{
	if (cJSON_IsNull(value))
	{
		timer_hold(true);
		settings.delay = TIMER_HELD;
		return true;
	}
	if (!set_milliseconds(&settings.delay, value))
		return false;
	timer_hold(false);
	return true;
}

static bool
control_pending(const cJSON *value)
{
	return set_milliseconds(&settings.pending, value);
}

static bool
control_price_list_limit(const cJSON *value)
{
	return set_milliseconds(&settings.price_list_limit, value);
}

static bool
control_insist_on_inquiry(const cJSON *value)
{
	return set_switch(&settings.insist_on_inquiry, value);
}

static bool
control_status_echoes_inquiry(const cJSON *value)
{
	return set_switch(&settings.status_echoes_inquiry, value);
}

static bool
control_unique_ref_id(const cJSON *value)
{
	return set_switch(&settings.unique_ref_id, value);
}

static bool
control_malaysian(const cJSON *value)
{
	return set_switch(&settings.malaysian, value);
}

static bool
control_error_objects(const cJSON *value)
{
	return set_switch(&settings.error_objects, value);
}

/*
 * A number is the new running balance, null does away with it.
 */
static bool
control_balance(const cJSON *value)
{
	if (!cJSON_IsNumber(value) && !cJSON_IsNull(value))
		return false;
	books_set_balance(cJSON_IsNumber(value), (long long) (value->valuedouble * 100));
	return true;
}

/*
 * The name of what becomes of new connections to the raw port, or null.
 */
static bool
control_accept_fault(const cJSON *value)
{
	if (!cJSON_IsString(value) && !cJSON_IsNull(value))
		return false;
	return fault_set_on_accept(cJSON_GetStringValue(value));
}

/*
 * The command a script is for; absent means inquiry and payment.
 */
static bool
script_command(const cJSON *value, Command *command)
{
	const char *name = cJSON_GetStringValue(value);

	*command = COMMAND_NONE;
	if (value == NULL)
		return true;
	if (name && strcmp(name, "pay-pasca") == 0)
		*command = COMMAND_PAY;
	else if (name && strcmp(name, "inq-pasca") == 0)
		*command = COMMAND_INQUIRE;
	else if (name && strcmp(name, "status-pasca") == 0)
		*command = COMMAND_STATUS;
	else if (name && strcmp(name, "call") == 0)
		*command = COMMAND_CALL;
	return *command != COMMAND_NONE;
}

/*
 * "headers" as lines; the values are strings.
 */
static char *
script_headers(const cJSON *value)
{
	Buffer		lines = {0};
	const cJSON *header;

	cJSON_ArrayForEach(header, value)
	{
		if (cJSON_IsString(header))
			buffer_printf(&lines, "%s: %s\n", header->string, header->valuestring);
	}
	return lines.data;
}

/*
 * The script's body: "body" as text or "body_base64" as bytes.
 */
static bool
script_body(const cJSON *value, Script *script)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(value, "body"));
	const char *base64 = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(value, "body_base64"));
	Buffer		bytes = {0};
	bool		valid = true;

	buffer_add(&bytes, "", 0);
	if (base64)
		valid = base64_add(&bytes, base64);
	else if (text)
		buffer_add_text(&bytes, text);
	script->body = bytes.data;
	script->length = bytes.length;
	return valid;
}

/*
 * Dictate a reply; null forgets all that were dictated.
 */
static bool
control_script(const cJSON *value)
{
	const char *ref_id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(value, "ref_id"));
	const cJSON *status = cJSON_GetObjectItemCaseSensitive(value, "http_status");
	const cJSON *delay = cJSON_GetObjectItemCaseSensitive(value, "delay");
	Script	   *script;

	if (cJSON_IsNull(value))
	{
		script_clear();
		return true;
	}
	if (ref_id == NULL)
		return false;
	script = must_alloc(sizeof(Script));
	script->ref_id = must_copy(ref_id);
	script->http_status = cJSON_IsNumber(status) ? status->valueint : 200;
	script->content_type = must_copy(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(value, "content_type")));
	script->headers = script_headers(cJSON_GetObjectItemCaseSensitive(value, "headers"));
	script->book = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(value, "book"));
	script->delay = cJSON_IsNumber(delay) ? delay->valueint : -1;
	if (!script_body(value, script) ||
		!script_command(cJSON_GetObjectItemCaseSensitive(value, "command"), &script->command))
	{
		script_free(script);
		return false;
	}
	script_add(script);
	return true;
}

static const ControlKey control_keys[] = {
	{"delay", control_delay},
	{"pending", control_pending},
	{"price_list_limit", control_price_list_limit},
	{"insist_on_inquiry", control_insist_on_inquiry},
	{"status_echoes_inquiry", control_status_echoes_inquiry},
	{"unique_ref_id", control_unique_ref_id},
	{"malaysian", control_malaysian},
	{"error_objects", control_error_objects},
	{"balance", control_balance},
	{"accept_fault", control_accept_fault},
	{"script", control_script},
};

/*
 * Make one change; false when the key is unknown or its value bad.
 */
static bool
change(const cJSON *item)
{
	size_t		i;

	for (i = 0; i < sizeof(control_keys) / sizeof(control_keys[0]); i++)
	{
		if (strcmp(control_keys[i].key, item->string) == 0)
			return control_keys[i].call(item);
	}
	return false;
}

/*
 * Answer POST /control.
 */
void
control_answer(const char *body, Answer *answer)
{
	cJSON	   *document = cJSON_ParseWithOpts(body ? body : "", NULL, true);
	const cJSON *item;
	Buffer		json = {0};

	answer->http_status = 200;
	if (!cJSON_IsObject(document))
	{
		answer->http_status = 400;
		buffer_add_text(&json, "{\"error\":\"not a JSON object\"}");
	}
	else
	{
		cJSON_ArrayForEach(item, document)
		{
			if (change(item))
				continue;
			answer->http_status = 400;
			buffer_add_text(&json, "{\"error\":\"unknown key or bad value\",\"key\":");
			buffer_add_json(&json, item->string);
			buffer_add_text(&json, "}");
			break;
		}
	}
	if (answer->http_status == 200)
		buffer_add_text(&json, "{\"ok\":true}");
	cJSON_Delete(document);
	answer->body = json.data;
	answer->length = json.length;
}
