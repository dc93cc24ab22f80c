/*-------------------------------------------------------------------------
 *
 * account.c
 *	  The account that a session pays from, kept until it may have changed.
 *
 * A statement may queue a hundred thousand payments through one server, and
 * reading its options and its mapping anew for each takes longer than writing
 * some of the indexes.  So the last account is kept, without its key, until the
 * catalogs that it comes from change: by another session's commit, by our own
 * command, or by the end of a (sub)transaction that takes such a command back.
 *
 * Whether the role may use the server is never kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "account.h"
#include "credential.h"
#include "problem.h"

static uint64 changes = 0;		/* of those catalogs, as far as we have heard */

static MemoryContext context = NULL;	/* of the texts of the kept account */
static NameData kept_name;		/* its server's name; "": none is kept */
static DpAccount kept;
static uint64 kept_since;		/* changes that it has taken into account */

/* A server, a mapping or a wrapper has changed, or may have. */
static void
on_catalog_change(Datum arg, int cache, uint32 hash)
{
	changes++;
}

/* Ask to be told of changes; once in a process. */
static void
listen(void)
{
	static bool listening = false;

	if (listening)
		return;
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, on_catalog_change, (Datum) 0);
	context = AllocSetContextCreate(TopMemoryContext, "digipay account", ALLOCSET_SMALL_SIZES);
	listening = true;
}

/* A text's copy in the current memory context; NULL is NULL. */
static char *
copy_text(const char *text)
{
	return text == NULL ? NULL : pstrdup(text);
}

/*
 * Copy an account that has no key into the current memory context.  Whoever uses
 * it may be waiting, or run somebody's trigger, while another one is read.
 */
static void
copy_account(const DpAccount *from, DpAccount *to)
{
	Assert(from->api_key == NULL);
	*to = *from;
	to->server_name = copy_text(from->server_name);
	to->endpoint = copy_text(from->endpoint);
	to->balance_endpoint = copy_text(from->balance_endpoint);
	to->deposit_endpoint = copy_text(from->deposit_endpoint);
	to->price_list_endpoint = copy_text(from->price_list_endpoint);
	to->username = copy_text(from->username);
	to->account = copy_text(from->account);
	to->api_key_file = copy_text(from->api_key_file);
	to->ca_file = copy_text(from->ca_file);
}

/* Keep an account that was read when we had heard of so many changes. */
static void
keep(const DpAccount *account, uint64 since)
{
	MemoryContext old;

	NameStr(kept_name)[0] = '\0';
	MemoryContextReset(context);
	old = MemoryContextSwitchTo(context);
	copy_account(account, &kept);
	MemoryContextSwitchTo(old);
	strlcpy(NameStr(kept_name), account->server_name, NAMEDATALEN);
	kept_since = since;
}

/*
 * The account of the server of that name, without its key, in the current memory
 * context; the effective user must be allowed to use it.  Raises the contract's
 * errors.
 */
void
dp_account_take(const char *name, DpAccount *account)
{
	DpProblem	problem;
	uint64		since;
	Oid			server;

	listen();
	/* what others have committed counts from now on, as for a look into the catalog */
	AcceptInvalidationMessages();
	if (kept_since == changes && NameStr(kept_name)[0] != '\0' &&
		strcmp(NameStr(kept_name), name) == 0)
	{
		dp_server_check_usage(kept.server, name);
		/* (that look can have brought news) */
		if (kept_since == changes)
		{
			copy_account(&kept, account);
			return;
		}
	}
	since = changes;
	server = dp_server_find(name);
	dp_server_check_usage(server, name);
	if (!dp_account_load(server, false, account, &problem))
		dp_problem_raise(&problem);
	keep(account, since);
}
