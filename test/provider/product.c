/*
 * product.c
 *		The products and their test numbers: tables, pure.
 */
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "product.h"

typedef struct TestNumber
{
	Product		product;
	const char *customer_no;
	Fate		fate;
	int			bills;
} TestNumber;

static const char *const product_names[PRODUCT_COUNT] = {
	[PRODUCT_PLN] = "pln",
	[PRODUCT_PDAM] = "pdam",
	[PRODUCT_HP] = "hp",
	[PRODUCT_INTERNET] = "internet",
	[PRODUCT_BPJS] = "bpjs",
	[PRODUCT_MULTIFINANCE] = "multifinance",
	[PRODUCT_PBB] = "pbb",
	[PRODUCT_PGAS] = "pgas",
	[PRODUCT_TV] = "tv",
	[PRODUCT_PLNNONTAGLIS] = "plnnontaglis",
	[PRODUCT_EMONEY] = "emoney",
	[PRODUCT_SAMSAT] = "samsat",
	[PRODUCT_BPJSTK] = "bpjstk",
	[PRODUCT_BPJSTKPU] = "bpjstkpu",
	[PRODUCT_PDL] = "pdl",
};

/*
 * The documented test numbers.  Any other number is a success with one bill;
 * of the parent service's three products none is documented.
 * For samsat the number is what stands before the comma.
 */
static const TestNumber test_numbers[] = {
	{PRODUCT_PLN, "530000000001", FATE_SUCCESS, 1},
	{PRODUCT_PLN, "530000000002", FATE_SUCCESS, 2},
	{PRODUCT_PLN, "530000000003", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_PLN, "530000000006", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_PLN, "630000000001", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_PLN, "630000000002", FATE_PENDING_SUCCESS, 2},
	{PRODUCT_PLN, "630000000006", FATE_PENDING_FAILED, 1},

	{PRODUCT_PDAM, "1013226", FATE_SUCCESS, 1},
	{PRODUCT_PDAM, "1013227", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_PDAM, "1013230", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_PDAM, "2013226", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_PDAM, "2013230", FATE_PENDING_FAILED, 1},

	{PRODUCT_INTERNET, "6391601001", FATE_SUCCESS, 1},
	{PRODUCT_INTERNET, "6391601002", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_INTERNET, "6391601005", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_INTERNET, "7391601001", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_INTERNET, "7391601005", FATE_PENDING_FAILED, 1},

	{PRODUCT_BPJS, "8801234560001", FATE_SUCCESS, 1},
	{PRODUCT_BPJS, "8801234560002", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_BPJS, "8801234560005", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_BPJS, "9801234560001", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_BPJS, "9801234560005", FATE_PENDING_FAILED, 1},

	{PRODUCT_MULTIFINANCE, "6391601201", FATE_SUCCESS, 1},
	{PRODUCT_MULTIFINANCE, "6391601202", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_MULTIFINANCE, "6391601205", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_MULTIFINANCE, "7391601201", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_MULTIFINANCE, "7391601205", FATE_PENDING_FAILED, 1},

	{PRODUCT_PBB, "329801092375999991", FATE_SUCCESS, 1},
	{PRODUCT_PBB, "329801092375999992", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_PBB, "329801092375999995", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_PBB, "429801092375999991", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_PBB, "429801092375999995", FATE_PENDING_FAILED, 1},

	{PRODUCT_PGAS, "0110014601", FATE_SUCCESS, 1},
	{PRODUCT_PGAS, "0110014602", FATE_SUCCESS, 2},
	{PRODUCT_PGAS, "0110014603", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_PGAS, "0110014605", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_PGAS, "1110014601", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_PGAS, "1110014602", FATE_PENDING_SUCCESS, 2},
	{PRODUCT_PGAS, "1110014605", FATE_PENDING_FAILED, 1},

	{PRODUCT_TV, "127246500101", FATE_SUCCESS, 1},
	{PRODUCT_TV, "127246500102", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_TV, "127246500105", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_TV, "227246500101", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_TV, "227246500105", FATE_PENDING_FAILED, 1},

	{PRODUCT_PLNNONTAGLIS, "3225030005921", FATE_SUCCESS, 1},
	{PRODUCT_PLNNONTAGLIS, "3225030005922", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_PLNNONTAGLIS, "3225030005923", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_PLNNONTAGLIS, "4225030005921", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_PLNNONTAGLIS, "4225030005923", FATE_PENDING_FAILED, 1},

	{PRODUCT_EMONEY, "082100000001", FATE_SUCCESS, 1},
	{PRODUCT_EMONEY, "082100000002", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_EMONEY, "082100000003", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_EMONEY, "082110000001", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_EMONEY, "082110000003", FATE_PENDING_FAILED, 1},

	{PRODUCT_SAMSAT, "9658548523568701", FATE_SUCCESS, 1},
	{PRODUCT_SAMSAT, "9658548523568702", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_SAMSAT, "9658548523568705", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_SAMSAT, "0658548523568701", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_SAMSAT, "0658548523568705", FATE_PENDING_FAILED, 1},

	{PRODUCT_HP, "081234554320", FATE_SUCCESS, 1},
	{PRODUCT_HP, "081234554321", FATE_INQUIRY_FAILS, 1},
	{PRODUCT_HP, "081234554324", FATE_PAYMENT_FAILS, 1},
	{PRODUCT_HP, "081244554320", FATE_PENDING_SUCCESS, 1},
	{PRODUCT_HP, "081244554324", FATE_PENDING_FAILED, 1},
};

/*
 * The name, which is also the name of the sample file.
 */
const char *
product_name(Product product)
{
	return product_names[product];
}

/*
 * Does a sample reply of it exist?  Of the others only the keys are documented,
 * and their replies are made after those.
 */
bool
product_has_sample(Product product)
{
	return product < PRODUCT_BPJSTK;
}

/*
 * A product by exactly its name, or by the name of the one city we know.
 */
static Product
product_of_name(const char *name)
{
	int			product;

	for (product = 0; product < PRODUCT_COUNT; product++)
	{
		if (strcasecmp(name, product_names[product]) == 0)
			return (Product) product;
	}
	return strcasecmp(name, "cimahi") == 0 ? PRODUCT_PBB : PRODUCT_UNKNOWN;
}

/*
 * The product an account's code stands for: pln, dspln, BPLN, cimahi ...
 */
Product
product_of_code(const char *code)
{
	Product		product = product_of_name(code);

	if (product == PRODUCT_UNKNOWN && strncasecmp(code, "ds", 2) == 0)
		product = product_of_name(code + 2);
	if (product == PRODUCT_UNKNOWN && strncasecmp(code, "b", 1) == 0)
		product = product_of_name(code + 1);
	return product;
}

/*
 * What the customer owes and what becomes of paying it.
 */
Bill
product_bill(Product product, const char *customer_no)
{
	static const Bill ordinary = {FATE_SUCCESS, 1};
	size_t		length = strlen(customer_no);
	size_t		i;

	if (product == PRODUCT_SAMSAT)
		length = strcspn(customer_no, ",");
	for (i = 0; i < sizeof(test_numbers) / sizeof(test_numbers[0]); i++)
	{
		const TestNumber *number = &test_numbers[i];

		if (number->product == product &&
			strlen(number->customer_no) == length &&
			memcmp(number->customer_no, customer_no, length) == 0)
			return (Bill) {number->fate, number->bills};
	}
	return ordinary;
}
