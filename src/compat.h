/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every conditional on the version of PostgreSQL or libcurl.
 *
 * Written for PostgreSQL 14 to 18; tested on the versions that README.md
 * names.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DIGIPAY_COMPAT_H
#define DIGIPAY_COMPAT_H

#include "common/jsonapi.h"
#include "common/md5.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 140000
#error "digipay needs PostgreSQL 14 or later"
#endif

/* 15 wants shared memory to be asked for in a hook of its own */
#if PG_VERSION_NUM >= 150000
#define DP_HAS_SHMEM_REQUEST_HOOK
#endif

/* 17 has one more time-out that the worker must not have */
#if PG_VERSION_NUM >= 170000
#define DP_SETTINGS_SINCE_17	{"transaction_timeout", "0"},
#else
#define DP_SETTINGS_SINCE_17
#endif

/* 15 renamed this */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 16 moved what looks into variable-length values to a header of its own */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16 made one function of the many aclchecks */
#if PG_VERSION_NUM >= 160000
#include "catalog/pg_foreign_server.h"
#define dp_server_aclcheck(server, role) \
	object_aclcheck(ForeignServerRelationId, server, role, ACL_USAGE)
#else
#define dp_server_aclcheck(server, role) \
	pg_foreign_server_aclcheck(server, role, ACL_USAGE)
#endif

/* 17 counts processes from its own global */
#if PG_VERSION_NUM >= 170000
#define DP_MY_PROC_NUMBER	MyProcNumber
#else
#define DP_MY_PROC_NUMBER	(MyProc->pgprocno)
#endif

/* 17 added an owner to wait-event sets */
#if PG_VERSION_NUM >= 170000
#define dp_create_wait_event_set(n) CreateWaitEventSet(NULL, n)
#else
#define dp_create_wait_event_set(n) CreateWaitEventSet(TopMemoryContext, n)
#endif

/* 17 lets an extension name its wait events; before, all are "Extension" */
#if PG_VERSION_NUM >= 170000
#define dp_wait_event(name) WaitEventExtensionNew(name)
#else
#define dp_wait_event(name) PG_WAIT_EXTENSION
#endif

/* 17 puts the lexer on the stack, and takes what is to be filled in first */
#if PG_VERSION_NUM >= 170000
#define dp_json_lexer(json, len) \
	makeJsonLexContextCstringLen(NULL, json, len, PG_UTF8, true)
#else
#define dp_json_lexer(json, len) \
	makeJsonLexContextCstringLen(json, len, PG_UTF8, true)
#endif

/* 18 counts index searches for EXPLAIN */
#if PG_VERSION_NUM >= 180000
#define dp_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#else
#define dp_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, nkeys, 0)
#endif

/* 16 gave the JSON parser's actions a result */
#if PG_VERSION_NUM >= 160000
typedef JsonParseErrorType DpJsonActionResult;
#define DP_JSON_ACTION_DONE return JSON_SUCCESS
#else
typedef void DpJsonActionResult;
#define DP_JSON_ACTION_DONE return
#endif

/* 15 made a function of the timeline that is written to */
#if PG_VERSION_NUM >= 150000
#define dp_current_timeline() GetWALInsertionTimeLine()
#else
#define dp_current_timeline() ThisTimeLineID
#endif

/* 15 made md5 tell why it failed */
static inline bool
dp_md5_hex(const char *text, size_t len, char *hex, const char **why)
{
#if PG_VERSION_NUM >= 150000
	return pg_md5_hash(text, len, hex, why);
#else
	*why = "MD5 is not available";
	return pg_md5_hash(text, len, hex);
#endif
}

/* 16 lets a range be refused without an error */
#if PG_VERSION_NUM >= 160000
#define dp_make_range(type, lower, upper) make_range(type, lower, upper, false, NULL)
#else
#define dp_make_range(type, lower, upper) make_range(type, lower, upper, false)
#endif

/* 18 calls the magic block by a longer name */
#ifdef PG_MODULE_MAGIC_EXT
#define DP_MODULE_MAGIC(the_version) \
	PG_MODULE_MAGIC_EXT(.name = "digipay", .version = the_version)
#else
#define DP_MODULE_MAGIC(the_version) PG_MODULE_MAGIC
#endif

#endif							/* DIGIPAY_COMPAT_H */
