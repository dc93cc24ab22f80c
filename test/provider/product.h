/*
 * product.h
 *		The products and their test numbers.
 */
#ifndef PRODUCT_H
#define PRODUCT_H

#include <stdbool.h>

typedef enum Product
{
	PRODUCT_PLN,
	PRODUCT_PDAM,
	PRODUCT_HP,
	PRODUCT_INTERNET,
	PRODUCT_BPJS,
	PRODUCT_MULTIFINANCE,
	PRODUCT_PBB,
	PRODUCT_PGAS,
	PRODUCT_TV,
	PRODUCT_PLNNONTAGLIS,
	PRODUCT_EMONEY,
	PRODUCT_SAMSAT,
	PRODUCT_BPJSTK,				/* this and the next two are the parent service's */
	PRODUCT_BPJSTKPU,
	PRODUCT_PDL,
	PRODUCT_COUNT,
	PRODUCT_UNKNOWN = -1
} Product;

/* What becomes of a payment for a customer number */
typedef enum Fate
{
	FATE_SUCCESS,
	FATE_INQUIRY_FAILS,
	FATE_PAYMENT_FAILS,
	FATE_PENDING_SUCCESS,
	FATE_PENDING_FAILED
} Fate;

typedef struct Bill
{
	Fate		fate;
	int			bills;			/* 1, or 2 where there is a two-bill reply */
} Bill;

extern const char *product_name(Product product);
extern bool product_has_sample(Product product);
extern Product product_of_code(const char *code);
extern Bill product_bill(Product product, const char *customer_no);

#endif							/* PRODUCT_H */
