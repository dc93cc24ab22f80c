/*-------------------------------------------------------------------------
 *
 * option.c
 *	  The options of a server and of its PUBLIC mapping: one table, the
 *	  validator, and the way from catalog text to a struct.
 *
 * Whatever is secret or names the payer is an option of the mapping, everything
 * else one of the server; the options by which a server's owner could reach
 * into the host or its network are for superusers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "option.h"
#include "url.h"

typedef enum OptionType
{
	OPTION_TEXT,
	OPTION_BOOL,
	OPTION_INT,
	OPTION_DIALECT
} OptionType;

typedef struct Option
{
	const char *name;
	Oid			catalog;		/* where it may stand */
	OptionType	type;
	size_t		offset;			/* its place in DpAccount */
	int			min;			/* of OPTION_INT */
	int			max;
	bool		superuser;		/* only a superuser may set it */
	const char *(*check) (const char *value);	/* NULL, or what is wrong */
} Option;

static const char *check_endpoint(const char *value);
static const char *check_file_name(const char *value);
static const char *check_path(const char *value);
static const char *check_username(const char *value);
static const char *check_key(const char *value);

/* Upper bounds: a day for time-outs, 30 days for the queue. */
#define DAY_MS		(24 * 3600 * 1000)
#define AT(member)	offsetof(DpAccount, member)
#define NOWHERE		((size_t) -1)	/* checked here, read elsewhere */

static const Option option_table[] = {
	{"endpoint", ForeignServerRelationId, OPTION_TEXT, AT(endpoint), 0, 0, false, check_endpoint},
	{"balance_endpoint", ForeignServerRelationId, OPTION_TEXT, AT(balance_endpoint), 0, 0, false, check_endpoint},
	{"deposit_endpoint", ForeignServerRelationId, OPTION_TEXT, AT(deposit_endpoint), 0, 0, false, check_endpoint},
	{"price_list_endpoint", ForeignServerRelationId, OPTION_TEXT, AT(price_list_endpoint), 0, 0, false, check_endpoint},
	{"dialect", ForeignServerRelationId, OPTION_DIALECT, AT(dialect), 0, 0, false, NULL},
	{"testing", ForeignServerRelationId, OPTION_BOOL, AT(testing), 0, 0, false, NULL},
	{"connect_timeout", ForeignServerRelationId, OPTION_INT, AT(connect_timeout), 1, DAY_MS, false, NULL},
	{"timeout", ForeignServerRelationId, OPTION_INT, AT(timeout), 1, DAY_MS, false, NULL},
	{"max_in_flight", ForeignServerRelationId, OPTION_INT, AT(max_in_flight), 1, 10000, false, NULL},
	{"status_interval", ForeignServerRelationId, OPTION_INT, AT(status_interval), 1, DAY_MS, false, NULL},
	{"queue_ttl", ForeignServerRelationId, OPTION_INT, AT(queue_ttl), 1, INT_MAX, false, NULL},
	{"paused", ForeignServerRelationId, OPTION_BOOL, AT(paused), 0, 0, false, NULL},
	{"require_inquiry", ForeignServerRelationId, OPTION_BOOL, AT(require_inquiry), 0, 0, false, NULL},
	{"ca_file", ForeignServerRelationId, OPTION_TEXT, AT(ca_file), 0, 0, true, check_path},
	{"allow_private_address", ForeignServerRelationId, OPTION_BOOL, AT(allow_private_address), 0, 0, true, NULL},
	{"api_key_file", ForeignServerRelationId, OPTION_TEXT, AT(api_key_file), 0, 0, true, check_file_name},
	{"username", UserMappingRelationId, OPTION_TEXT, NOWHERE, 0, 0, false, check_username},
	{"api_key", UserMappingRelationId, OPTION_TEXT, NOWHERE, 0, 0, false, check_key},
	{"webhook_secret", UserMappingRelationId, OPTION_TEXT, NOWHERE, 0, 0, false, check_key},
};

/* What the option dialect calls them. */
static const char *const dialect_names[DP_DIALECT_COUNT] = {
	[DP_DIGISWITCH] = "digiswitch",
	[DP_DIGIFLAZZ] = "digiflazz",
};

PG_FUNCTION_INFO_V1(digipay_validator);

/* What is wrong with an address, or NULL. */
static const char *
check_endpoint(const char *value)
{
	DpUrl		url;

	if (!dp_url_read(value, &url))
		return "it must be an https URL";
	if (url.credentials)
		return "a user name or password does not belong in it";
	if (!url.tls && !url.loopback)
		return "http is for a loopback address only; use https";
	if (strlen(value) > 2000)
		return "it is too long";
	return NULL;
}

/* The dialect of that name; false when there is none. */
static bool
parse_dialect(const char *value, DpDialect *dialect)
{
	for (int i = 0; i < DP_DIALECT_COUNT; i++)
	{
		if (strcmp(dialect_names[i], value) == 0)
		{
			*dialect = (DpDialect) i;
			return true;
		}
	}
	return false;
}

/* What the option calls a dialect. */
const char *
dp_dialect_name(DpDialect dialect)
{
	return dialect_names[dialect];
}

/* A bare name, so that it cannot lead out of digipay.secret_dir. */
static const char *
check_file_name(const char *value)
{
	if (value[0] == '\0' || value[0] == '.' || strchr(value, '/') != NULL)
		return "it must be the bare name of a file, without a path or a leading dot";
	return NULL;
}

/* What is wrong with a path, or NULL. */
static const char *
check_path(const char *value)
{
	return is_absolute_path(value) ? NULL : "it must be an absolute path";
}

/* Printable ASCII without blanks, of a length that fits the account. */
static const char *
check_username(const char *value)
{
	if (!dp_key_is_acceptable(value))
		return "it must be printable ASCII without blanks";
	if (strlen(value) > DP_USERNAME_MAX)
		return "it is too long";
	return NULL;
}

/* What is wrong with a key or a secret, or NULL. */
static const char *
check_key(const char *value)
{
	return dp_key_is_acceptable(value) ? NULL :
		"it must be 1 to 1000 characters of printable ASCII without blanks";
}

/*
 * Can this be a key: 1 to 1000 printable ASCII characters without blanks?  (A
 * line break at the end is the usual accident.)
 */
bool
dp_key_is_acceptable(const char *key)
{
	size_t		len = strlen(key);

	if (len == 0 || len > 1000)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (key[i] <= ' ' || key[i] > '~')
			return false;
	}
	return true;
}

/* The option of that name; NULL if there is none. */
static const Option *
find_option(const char *name)
{
	for (int i = 0; i < (int) lengthof(option_table); i++)
	{
		if (strcmp(option_table[i].name, name) == 0)
			return &option_table[i];
	}
	return NULL;
}

/* The names of the options that may stand there, for a hint. */
static char *
valid_options(Oid catalog)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < (int) lengthof(option_table); i++)
	{
		if (option_table[i].catalog == catalog)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 option_table[i].name);
	}
	return names.data;
}

/* A whole number as people write it: digits, without a leading zero. */
static bool
is_whole_number(const char *value)
{
	return value[0] >= '1' && value[0] <= '9' &&
		strspn(value, "0123456789") == strlen(value);
}

/* What an option's value is, when it is not what the table asks for. */
static const char *
check_value(const Option *option, const char *value)
{
	bool		flag;
	int			number;
	DpDialect	dialect;

	switch (option->type)
	{
		case OPTION_DIALECT:
			return parse_dialect(value, &dialect) ? NULL : "it must be digiswitch or digiflazz";
		case OPTION_BOOL:
			return parse_bool(value, &flag) ? NULL : "it must be true or false";
		case OPTION_INT:
			if (is_whole_number(value) && parse_int(value, &number, 0, NULL) &&
				number >= option->min && number <= option->max)
				return NULL;
			return psprintf("it must be a whole number from %d to %d",
							option->min, option->max);
		case OPTION_TEXT:
			return option->check(value);
	}
	return NULL;				/* keep compiler quiet */
}

/* Refuse an option that does not exist, or not here. */
static void
refuse_option(const char *name, Oid catalog)
{
	const Option *elsewhere = find_option(name);
	char	   *valid = valid_options(catalog);

	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 elsewhere == NULL ? 0 :
			 errdetail("This is an option of the %s.",
					   elsewhere->catalog == ForeignServerRelationId ?
					   "server" : "user mapping for PUBLIC"),
			 valid[0] == '\0' ?
			 errhint("There are no valid options in this context.") :
			 errhint("Valid options in this context are: %s.", valid)));
}

/* The value of an option, NULL where it is not given. */
static const char *
value_of(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *def = lfirst_node(DefElem, cell);

		if (strcmp(def->defname, name) == 0)
			return defGetString(def);
	}
	return NULL;
}

/*
 * What is sent to any of a server's addresses is signed with the same key, and
 * some signatures never change: all of them must be at the one host that the
 * account is named after.
 */
static void
check_one_host(List *options)
{
	const char *endpoint = value_of(options, "endpoint");
	DpUrl		url;

	for (int i = 0; i < (int) lengthof(option_table); i++)
	{
		const Option *option = &option_table[i];
		const char *value = value_of(options, option->name);
		DpUrl		other;

		if (value == NULL || option->check != check_endpoint)
			continue;
		if (!dp_url_read(endpoint, &url) || !dp_url_read(value, &other) ||
			strcmp(url.host, other.host) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("invalid value for option \"%s\": it must be at the endpoint's host",
							option->name),
					 errhint("Another host is another account: create a server for it.")));
	}
}

/*
 * The wrapper's validator: called with all the options that an object is going
 * to have.  A value that may be secret is never shown in the message.
 */
Datum
digipay_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	bool		has_endpoint = false;
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *def = lfirst_node(DefElem, cell);
		const Option *option = find_option(def->defname);
		const char *wrong;

		if (option == NULL || option->catalog != catalog)
			refuse_option(def->defname, catalog);
		wrong = check_value(option, defGetString(def));
		if (wrong != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("invalid value for option \"%s\": %s", option->name, wrong),
					 errhint("Valid options in this context are: %s.",
							 valid_options(catalog))));
		if (option->superuser && !superuser())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set option \"%s\"", option->name),
					 errhint("Only a superuser may set it, or change other options of a server that keeps it.")));
		if (strcmp(option->name, "endpoint") == 0)
			has_endpoint = true;
	}

	if (catalog == ForeignServerRelationId && !has_endpoint)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"endpoint\" is required"),
				 errhint("Valid options in this context are: %s.",
						 valid_options(catalog))));
	if (catalog == ForeignServerRelationId)
		check_one_host(options);
	PG_RETURN_VOID();
}

/*
 * Put a server's options as they stand in the catalog into the account's
 * fields; what is not among them keeps its value.  The catalog's text has passed the validator, but
 * perhaps that of an older version: what is not understood is passed over.
 */
void
dp_options_apply(List *options, DpAccount *account)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *def = lfirst_node(DefElem, cell);
		const Option *option = find_option(def->defname);
		const char *value = defGetString(def);
		char	   *place;

		if (option == NULL || option->offset == NOWHERE)
			continue;
		place = (char *) account + option->offset;
		switch (option->type)
		{
			case OPTION_BOOL:
				(void) parse_bool(value, (bool *) place);
				break;
			case OPTION_INT:
				(void) parse_int(value, (int *) place, 0, NULL);
				break;
			case OPTION_TEXT:
				*(char **) place = pstrdup(value);
				break;
			case OPTION_DIALECT:
				(void) parse_dialect(value, (DpDialect *) place);
				break;
		}
	}
}
