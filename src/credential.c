/*-------------------------------------------------------------------------
 *
 * credential.c
 *	  From a foreign server and its PUBLIC mapping to an account.
 *
 * Only the mapping for PUBLIC counts: a role with USAGE could make a mapping of
 * its own and so pay from another account under the same server's name.  The
 * key is read for the worker alone, at each request, and wiped by it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "catalog/pg_user_mapping.h"
#include "compat.h"
#include "foreign/foreign.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "credential.h"
#include "guc.h"
#include "option.h"
#include "problem.h"
#include "url.h"

/*
 * The server of that name, which must be one of ours.  Raises 42704 otherwise.
 */
Oid
dp_server_find(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" does not exist", name),
				 errhint("Create it with CREATE SERVER %s FOREIGN DATA WRAPPER digipay OPTIONS (endpoint '...').",
						 quote_identifier(name))));
	if (strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, DP_WRAPPER) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" is not of foreign-data wrapper digipay", name),
				 errhint("Name a server that was created with FOREIGN DATA WRAPPER digipay.")));
	return server->serverid;
}

/* Raise 42501 unless the effective user has USAGE on the server. */
void
dp_server_check_usage(Oid server, const char *name)
{
	if (dp_server_aclcheck(server, GetUserId()) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for foreign server %s", name),
				 errhint("Let its owner run GRANT USAGE ON FOREIGN SERVER %s TO %s.",
						 quote_identifier(name),
						 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

/* The value of an option "name=value", palloc'd, or NULL if it is another. */
static char *
option_value(const text *option, const char *name)
{
	const char *data = VARDATA_ANY(option);
	size_t		len = VARSIZE_ANY_EXHDR(option);
	size_t		name_len = strlen(name);

	if (len <= name_len || data[name_len] != '=' || memcmp(data, name, name_len) != 0)
		return NULL;
	return pnstrdup(data + name_len + 1, len - name_len - 1);
}

/*
 * Take user name and key out of a mapping's options.  They are read by hand,
 * since the stock function leaves copies behind that cannot be wiped.
 */
static void
take_mapping_options(Datum options, bool with_key, DpAccount *account, char **secret)
{
	ArrayType  *array = DatumGetArrayTypePCopy(options);
	Datum	   *items;
	int			nitems;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, &nitems);
	for (int i = 0; i < nitems; i++)
	{
		const text *item = (const text *) DatumGetPointer(items[i]);

		if (account->username == NULL)
			account->username = option_value(item, "username");
		if (with_key && account->api_key == NULL)
			account->api_key = option_value(item, "api_key");
		if (secret != NULL && *secret == NULL)
			*secret = option_value(item, "webhook_secret");
	}
	explicit_bzero(array, VARSIZE(array));
	pfree(items);
	pfree(array);
}

/*
 * Load the server's PUBLIC mapping, if it has one, and the secret of its
 * call-backs if that is not NULL.  Not through the system cache, which would
 * keep the key in this process's memory.
 */
static void
load_public_mapping(Oid server, bool with_key, DpAccount *account, char **secret)
{
	Relation	mappings = table_open(UserMappingRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Datum		options;
	bool		isnull;

	ScanKeyInit(&keys[0], Anum_pg_user_mapping_umuser, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(InvalidOid));
	ScanKeyInit(&keys[1], Anum_pg_user_mapping_umserver, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(server));
	scan = systable_beginscan(mappings, UserMappingUserServerIndexId, true, NULL,
							  2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		options = heap_getattr(tuple, Anum_pg_user_mapping_umoptions,
							   RelationGetDescr(mappings), &isnull);
		if (!isnull)
			take_mapping_options(options, with_key, account, secret);
	}
	systable_endscan(scan);
	table_close(mappings, AccessShareLock);
}

/*
 * Check an open key file, and read it.  The text is palloc'd; NULL with a
 * problem when the file is not as it must be.
 */
static char *
read_open_key_file(int fd, const char *name, DpProblem *problem)
{
	struct stat st;
	char		text[1024];
	ssize_t		len;
	char	   *key = NULL;

	dp_problem_set(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "could not read the key");
	dp_problem_hint(problem, "See the option api_key_file in README.md.");
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		dp_problem_detail(problem, "\"%s\" is not a regular file.", name);
	else if (st.st_uid != geteuid())
		dp_problem_detail(problem, "\"%s\" is not owned by the server's user.", name);
	else if ((st.st_mode & 07777) != 0600 && (st.st_mode & 07777) != 0400)
		dp_problem_detail(problem, "The mode of \"%s\" must be 0600 or 0400.", name);
	else
	{
		len = read(fd, text, sizeof(text) - 1);
		if (len > 0 && text[len - 1] == '\n')
			len--;				/* what editors leave at the end */
		text[Max(len, 0)] = '\0';
		if (len > 0 && strlen(text) == (size_t) len && dp_key_is_acceptable(text))
			key = pstrdup(text);
		else
			dp_problem_detail(problem, "\"%s\" does not hold a key: 1 to 1000 characters of printable ASCII without blanks.", name);
		explicit_bzero(text, sizeof(text));
	}
	if (key != NULL)
		problem->sqlerrcode = 0;
	return key;
}

/* The key in that file of digipay.secret_dir, or NULL with a problem. */
static char *
read_key_file(const char *name, DpProblem *problem)
{
	char		path[MAXPGPATH];
	int			fd;
	char	   *key;

	if (dp_guc_secret_dir == NULL || dp_guc_secret_dir[0] == '\0')
	{
		dp_problem_set(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "could not read the key");
		dp_problem_detail(problem, "The server has api_key_file, but digipay.secret_dir is not set.");
		dp_problem_hint(problem, "Set digipay.secret_dir in postgresql.conf and restart.");
		return NULL;
	}
	snprintf(path, sizeof(path), "%s/%s", dp_guc_secret_dir, name);
	fd = OpenTransientFile(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
	{
		int			saved_errno = errno;

		dp_problem_set(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "could not read the key");
		dp_problem_detail(problem, "\"%s\" in digipay.secret_dir could not be opened: %s.",
						  name, strerror(saved_errno));
		dp_problem_hint(problem, "See the option api_key_file in README.md.");
		return NULL;
	}
	key = read_open_key_file(fd, name, problem);
	CloseTransientFile(fd);
	return key;
}

/*
 * Load a server's account, in the current memory context.  False, with a
 * problem, when something that a payment needs is missing.  Only with_key is
 * the key there afterwards; call dp_account_wipe when done with it.
 */
bool
dp_account_load(Oid server, bool with_key, DpAccount *account, DpProblem *problem)
{
	ForeignServer *fs = GetForeignServerExtended(server, FSV_MISSING_OK);
	DpUrl		url;

	memset(account, 0, sizeof(*account));
	problem->sqlerrcode = 0;
	if (fs == NULL)
	{
		dp_problem_set(problem, ERRCODE_UNDEFINED_OBJECT, "the worker does not see the server");
		dp_problem_detail(problem, "It has been dropped, or was created in a transaction that has not been committed.");
		dp_problem_hint(problem, "Commit CREATE SERVER before paying through it.");
		return false;
	}
	account->server = server;
	account->server_name = fs->servername;
	account->connect_timeout = 10000;
	account->timeout = 90000;
	account->max_in_flight = 64;
	account->status_interval = 60000;
	account->queue_ttl = 3600000;
	dp_options_apply(fs->options, account);

	if (account->endpoint == NULL || !dp_url_read(account->endpoint, &url))
	{
		dp_problem_set(problem, ERRCODE_FDW_INVALID_OPTION_NAME, "the server has no valid endpoint");
		dp_problem_hint(problem, "Set it with ALTER SERVER ... OPTIONS (SET endpoint '...').");
		return false;
	}
	load_public_mapping(server, with_key && account->api_key_file == NULL, account, NULL);
	if (account->username == NULL)
	{
		dp_problem_set(problem, ERRCODE_UNDEFINED_OBJECT,
					   psprintf("server \"%s\" has no user name", fs->servername));
		dp_problem_detail(problem, "It must be in the user mapping for PUBLIC; a role's own mapping does not count.");
		dp_problem_hint(problem, psprintf("Use CREATE USER MAPPING FOR PUBLIC SERVER %s OPTIONS (username '...', api_key '...').",
										  quote_identifier(fs->servername)));
		dp_account_wipe(account);
		return false;
	}
	account->account = psprintf("%s@%s", account->username, url.host);

	if (!with_key)
		return true;
	if (account->api_key_file != NULL)
		account->api_key = read_key_file(account->api_key_file, problem);
	else if (account->api_key == NULL)
	{
		dp_problem_set(problem, ERRCODE_UNDEFINED_OBJECT,
					   psprintf("server \"%s\" has no key", fs->servername));
		dp_problem_hint(problem, psprintf("Use ALTER USER MAPPING FOR PUBLIC SERVER %s OPTIONS (ADD api_key '...').",
										  quote_identifier(fs->servername)));
	}
	return problem->sqlerrcode == 0;
}

/*
 * The secret with which the provider signs its call-backs, palloc'd; wipe it
 * after use.  NULL, with a problem, if the server has none.
 */
char *
dp_webhook_secret(Oid server, DpProblem *problem)
{
	DpAccount	account = {0};
	char	   *secret = NULL;

	load_public_mapping(server, false, &account, &secret);
	if (secret == NULL)
	{
		dp_problem_set(problem, ERRCODE_UNDEFINED_OBJECT, "the server has no webhook_secret");
		dp_problem_detail(problem, "Without it, a call-back cannot be told from a forged one.");
		dp_problem_hint(problem, "Use ALTER USER MAPPING FOR PUBLIC SERVER ... OPTIONS (ADD webhook_secret '...').");
	}
	return secret;
}

/* Forget the key. */
void
dp_account_wipe(DpAccount *account)
{
	if (account->api_key != NULL)
		explicit_bzero(account->api_key, strlen(account->api_key));
	account->api_key = NULL;
}
