/*
 * guc.h
 *	  The settings, named digipay.*; README.md says what each is for.
 */
#ifndef DIGIPAY_GUC_H
#define DIGIPAY_GUC_H

extern char *dp_guc_server;
extern char *dp_guc_databases;
extern char *dp_guc_secret_dir;
extern int	dp_guc_max_connections;
extern int	dp_guc_idle_timeout;	/* seconds; 0: never */
extern int	dp_guc_max_response_size;	/* kB */
extern int	dp_guc_shutdown_grace;
extern bool dp_guc_take_over_on_promotion;	/* milliseconds */

extern void dp_guc_init(void);

#endif							/* DIGIPAY_GUC_H */
