/*-------------------------------------------------------------------------
 *
 * digipay.c
 *	  The module: magic block and initialization.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "storage/ipc.h"

#include "digipay.h"
#include "guc.h"
#include "launch.h"
#include "mailbox.h"

DP_MODULE_MAGIC(DIGIPAY_VERSION);

void		_PG_init(void);

#ifdef DP_HAS_SHMEM_REQUEST_HOOK
static shmem_request_hook_type prev_shmem_request_hook = NULL;

/* Ask for our share of the main shared memory. */
static void
request_shmem(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	dp_mailbox_request_shmem();
}
#endif

/*
 * Settings in every process that loads us; under preload, also room in shared
 * memory and the workers that start with the server.
 */
void
_PG_init(void)
{
	dp_guc_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
#ifdef DP_HAS_SHMEM_REQUEST_HOOK
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
#else
	dp_mailbox_request_shmem();
#endif
	dp_launch_at_server_start();
}
