/*
 * sample.h
 *		Success replies, made from the documented samples.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stdbool.h>

#include "buffer.h"
#include "dialect.h"
#include "product.h"

/* What a reply says instead of the sample's own words */
typedef struct SampleFill
{
	const char *ref_id;
	const char *customer_no;
	const char *code;
	const long long *balance;	/* in hundredths; NULL: the sample's */
	bool		without_sn;		/* an inquiry has no serial number */
	bool		malaysian;
} SampleFill;

extern bool sample_load(const char *directory);
extern long long sample_price(Product product, int bills, bool malaysian);
extern void sample_reply(Buffer *reply, DialectNumber dialect, Product product,
						 int bills, const SampleFill *fill);

#endif							/* SAMPLE_H */
