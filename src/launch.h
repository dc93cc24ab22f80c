/*
 * launch.h
 *	  Finding, starting and stopping this database's worker, from a session; and
 *	  starting those that preload asks for.
 */
#ifndef DIGIPAY_LAUNCH_H
#define DIGIPAY_LAUNCH_H

extern bool dp_launch_ensure(void);
extern void dp_launch_soon(void);
extern void dp_launch_later(bool preloaded);
extern bool dp_launch_is_listed(void);
extern bool dp_launch_stop(void);
extern void dp_launch_at_server_start(void);
extern PGDLLEXPORT void digipay_launcher_main(Datum arg);

#endif							/* DIGIPAY_LAUNCH_H */
