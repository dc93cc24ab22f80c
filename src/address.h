/*
 * address.h
 *	  Which network addresses a payment may go to.
 */
#ifndef DIGIPAY_ADDRESS_H
#define DIGIPAY_ADDRESS_H

extern const char *dp_address_refusal(const char *peer, bool private_allowed,
									  bool loopback_only);

#endif							/* DIGIPAY_ADDRESS_H */
