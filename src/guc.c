/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  The settings.
 *
 * digipay.server is for superusers: inside a SECURITY DEFINER function, a
 * caller's SET must not move money to another account.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "compat.h"
#include "guc.h"

char	   *dp_guc_server = NULL;
char	   *dp_guc_databases = NULL;
char	   *dp_guc_secret_dir = NULL;
int			dp_guc_max_connections = 256;
int			dp_guc_idle_timeout = 300;
int			dp_guc_max_response_size = 4096;
int			dp_guc_shutdown_grace = 5000;
bool		dp_guc_take_over_on_promotion = false;

/* A relative path would be taken from wherever the server happens to be. */
static bool
check_secret_dir(char **value, void **extra, GucSource source)
{
	if (*value == NULL || (*value)[0] == '\0' || is_absolute_path(*value))
		return true;
	GUC_check_errdetail("It must be an absolute path.");
	return false;
}

/*
 * Define the settings.  Two are fixed at server start; PostgreSQL lets these be
 * defined only while it loads shared_preload_libraries, so without preload they
 * are what comes nearest: settable in the configuration file only.
 */
void
dp_guc_init(void)
{
	GucContext	fixed = process_shared_preload_libraries_in_progress ?
		PGC_POSTMASTER : PGC_SIGHUP;

	DefineCustomStringVariable("digipay.server",
							   "Sets the foreign server that is used when a call names none.",
							   NULL,
							   &dp_guc_server,
							   "digipay",
							   PGC_SUSET,
							   0,
							   NULL, NULL, NULL);

	DefineCustomIntVariable("digipay.max_connections",
							"Sets how many requests may be in flight in all, for each worker.",
							NULL,
							&dp_guc_max_connections,
							256, 1, 10000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("digipay.idle_timeout",
							"Sets after how much idle time a worker ends that was started by a call.",
							"Zero means never.",
							&dp_guc_idle_timeout,
							300, 0, INT_MAX / 1000,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("digipay.max_response_size",
							"Sets the size of the largest reply that is read.",
							"The outcome of a payment whose reply is larger is unknown.",
							&dp_guc_max_response_size,
							4096, 1, 1024 * 1024 / 4,
							PGC_SUSET,
							GUC_UNIT_KB,
							NULL, NULL, NULL);

	DefineCustomIntVariable("digipay.shutdown_grace",
							"Sets how long a fast shutdown waits for answers.",
							NULL,
							&dp_guc_shutdown_grace,
							5000, 0, 600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("digipay.take_over_on_promotion",
							 "Takes over the queue by itself when a standby is promoted.",
							 "Every payment is asked about before it is sent then.",
							 &dp_guc_take_over_on_promotion,
							 false,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomStringVariable("digipay.databases",
							   "Sets the databases whose worker starts with the server.",
							   "A comma-separated list of names.",
							   &dp_guc_databases,
							   "",
							   fixed,
							   GUC_LIST_INPUT,
							   NULL, NULL, NULL);

	DefineCustomStringVariable("digipay.secret_dir",
							   "Sets the directory of the files that the option api_key_file names.",
							   NULL,
							   &dp_guc_secret_dir,
							   "",
							   fixed,
							   GUC_SUPERUSER_ONLY,
							   check_secret_dir, NULL, NULL);

	MarkGUCPrefixReserved("digipay");
}
