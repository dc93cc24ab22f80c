/*
 * credential.h
 *	  From a foreign server and its PUBLIC mapping to an account.
 */
#ifndef DIGIPAY_CREDENTIAL_H
#define DIGIPAY_CREDENTIAL_H

#include "digipay.h"

extern Oid	dp_server_find(const char *name);
extern void dp_server_check_usage(Oid server, const char *name);
extern bool dp_account_load(Oid server, bool with_key, DpAccount *account,
							DpProblem *problem);
extern char *dp_webhook_secret(Oid server, DpProblem *problem);
extern void dp_account_wipe(DpAccount *account);

#endif							/* DIGIPAY_CREDENTIAL_H */
