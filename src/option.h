/*
 * option.h
 *	  The options of a server and of its PUBLIC mapping.
 */
#ifndef DIGIPAY_OPTION_H
#define DIGIPAY_OPTION_H

#include "digipay.h"
#include "nodes/pg_list.h"

/* The wrapper that our servers belong to. */
#define DP_WRAPPER	"digipay"

extern bool dp_key_is_acceptable(const char *key);
extern const char *dp_dialect_name(DpDialect dialect);
extern void dp_options_apply(List *options, DpAccount *account);

#endif							/* DIGIPAY_OPTION_H */
