/*
 * account.h
 *	  The account that a session pays from, kept until it may have changed.
 */
#ifndef DIGIPAY_ACCOUNT_H
#define DIGIPAY_ACCOUNT_H

#include "digipay.h"

extern void dp_account_take(const char *name, DpAccount *account);

#endif							/* DIGIPAY_ACCOUNT_H */
