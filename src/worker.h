/*
 * worker.h
 *	  The worker process.
 */
#ifndef DIGIPAY_WORKER_H
#define DIGIPAY_WORKER_H

/* bgw_main_arg: the database, and whether the server's start asked for it. */
#define DP_WORKER_ARG(database, preloaded) \
	UInt64GetDatum((uint64) (database) | ((preloaded) ? UINT64CONST(1) << 32 : 0))

extern PGDLLEXPORT void digipay_worker_main(Datum arg);

/*
 * Private advisory locks: the class sets them apart from SQL's, which uses 1
 * and 2.
 */
#define DP_LOCK_CLASS		7
#define DP_LOCK_SINGLETON	1	/* held by the worker, all its life */
#define DP_LOCK_LAUNCH		2	/* held while starting one */

#endif							/* DIGIPAY_WORKER_H */
