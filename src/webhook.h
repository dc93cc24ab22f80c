/*
 * webhook.h
 *	  A session's side of a call-back: is it the provider's?
 */
#ifndef DIGIPAY_WEBHOOK_H
#define DIGIPAY_WEBHOOK_H

#include "digipay.h"

extern bool dp_webhook_is_signed(Oid server, const char *body, size_t len,
								 const char *signature);

#endif							/* DIGIPAY_WEBHOOK_H */
