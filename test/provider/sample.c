/*
 * sample.c
 *		Success replies, made from the documented samples.
 *
 * Each sample file is read once and printed once, with a mark (a control
 * character, which printed JSON cannot hold) in the place of each value that
 * a reply replaces.  Filling in is then nothing but copying, which is what
 * lets the double answer tens of thousands of requests a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sample.h"

#define MARK_REF_ID			"\x01"
#define MARK_CUSTOMER_NO	"\x02"
#define MARK_CODE			"\x03"
#define MARK_BALANCE		"\x04"
#define MARK_SN				"\x05"

#define MOST_BILLS 2

typedef struct Sample
{
	char	   *text[DIALECT_COUNT];	/* with marks */
	long long	balance;		/* the sample's own, in hundredths */
	char	   *sn;				/* the same, as JSON */
	long long	price;
} Sample;

const Dialect dialects[DIALECT_COUNT] = {
	[DIALECT_DIGISWITCH] = {"command", "code", "name", "balance"},
	[DIALECT_DIGIFLAZZ] = {"commands", "buyer_sku_code", "customer_name", "buyer_last_saldo"},
};

/*
 * Where the amounts have decimals, so that they do.  The sum of a bill holds:
 * what is more in the admin fee is more in the selling price.
 */
#define MORE_PRICE		25		/* hundredths */
#define MORE_ADMIN		50
#define MORE_BALANCE	75

/* By product, number of bills, and whether it is the Malaysian branch's */
static Sample samples[PRODUCT_COUNT][MOST_BILLS][2];

/*
 * The whole file as a parsed document, or NULL and a word on stderr.
 */
static cJSON *
read_sample(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	Buffer		text = {0};
	char		chunk[4096];
	size_t		length;
	cJSON	   *document;

	if (file == NULL)
	{
		perror(path);
		return NULL;
	}
	while ((length = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buffer_add(&text, chunk, length);
	fclose(file);
	document = text.data ? cJSON_Parse(text.data) : NULL;
	buffer_free(&text);
	if (cJSON_GetObjectItemCaseSensitive(document, "data") == NULL)
	{
		fprintf(stderr, "provider: %s is not a sample reply\n", path);
		cJSON_Delete(document);
		return NULL;
	}
	return document;
}

/*
 * Put value in the place of the string or number called key, where there is one.
 */
static void
put(cJSON *object, const char *key, cJSON *value)
{
	if (!cJSON_ReplaceItemInObjectCaseSensitive(object, key, value))
		cJSON_Delete(value);
}

/*
 * Turn a one-bill pln or pgas reply into the two-bill one.
 */
static void
make_two_bills(cJSON *data, Product product)
{
	cJSON	   *desc = cJSON_GetObjectItemCaseSensitive(data, "desc");
	cJSON	   *detail = cJSON_GetObjectItemCaseSensitive(desc, "detail");
	cJSON	   *second = cJSON_Duplicate(cJSON_GetArrayItem(detail, 0), true);

	put(data, "admin", cJSON_CreateNumber(5000));
	put(desc, "lembar_tagihan", cJSON_CreateNumber(2));
	if (product == PRODUCT_PLN)
	{
		put(data, "price", cJSON_CreateNumber(23000));
		put(data, "selling_price", cJSON_CreateNumber(25000));
		put(second, "periode", cJSON_CreateString("201902"));
		put(second, "nilai_tagihan", cJSON_CreateString("11500"));
		put(second, "denda", cJSON_CreateString("0"));
		put(second, "meter_awal", cJSON_CreateString("00090000"));
		put(second, "meter_akhir", cJSON_CreateString("00100000"));
	}
	else
	{
		put(data, "price", cJSON_CreateNumber(199000));
		put(data, "selling_price", cJSON_CreateNumber(200000));
		put(second, "periode", cJSON_CreateString("0420"));
		put(second, "meter_awal", cJSON_CreateString("006573"));
		put(second, "meter_akhir", cJSON_CreateString("006610"));
	}
	cJSON_AddItemToArray(detail, second);
}

/*
 * The number called key in hundredths, and as many more.
 */
static long long
hundredths(const cJSON *data, const char *key, int more)
{
	return (long long) cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(data, key)) * 100 + more;
}

/*
 * Add hundredths to the number called key.
 */
static void
add_decimals(cJSON *data, const char *key, int more)
{
	Buffer		text = {0};

	buffer_add_amount(&text, hundredths(data, key, more));
	put(data, key, cJSON_CreateRaw(text.data));
	buffer_free(&text);
}

/*
 * Turn a reply into one of the Malaysian branch, but for what is filled in.
 */
static void
make_malaysian(cJSON *data)
{
	put(data, "status", cJSON_CreateString("Success"));
	add_decimals(data, "price", MORE_PRICE);
	add_decimals(data, "admin", MORE_ADMIN);
	add_decimals(data, "selling_price", MORE_ADMIN);
}

/*
 * The parent service says in each period of pgas how much was used.
 */
static void
add_usage(cJSON *document)
{
	cJSON	   *data = cJSON_GetObjectItemCaseSensitive(document, "data");
	cJSON	   *desc = cJSON_GetObjectItemCaseSensitive(data, "desc");
	cJSON	   *period;

	cJSON_ArrayForEach(period, cJSON_GetObjectItemCaseSensitive(desc, "detail"))
	{
		const char *from = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(period, "meter_awal"));
		const char *to = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(period, "meter_akhir"));
		char		usage[16];

		snprintf(usage, sizeof(usage), "%06d", atoi(to ? to : "") - atoi(from ? from : ""));
		cJSON_AddStringToObject(period, "usage", usage);
	}
}

/*
 * The document printed in a dialect: the same values in the same order, and the
 * usage where only this dialect tells it.
 */
static char *
print_in_dialect(const cJSON *data, Product product, DialectNumber dialect)
{
	const Dialect *from = &dialects[DIALECT_DIGISWITCH];
	const Dialect *to = &dialects[dialect];
	cJSON	   *document = cJSON_CreateObject();
	cJSON	   *copy = cJSON_AddObjectToObject(document, "data");
	const cJSON *item;
	char	   *text;

	cJSON_ArrayForEach(item, data)
	{
		const char *key = item->string;

		if (strcmp(key, from->code) == 0)
			key = to->code;
		else if (strcmp(key, from->name) == 0)
			key = to->name;
		else if (strcmp(key, from->balance) == 0)
			key = to->balance;
		cJSON_AddItemToObject(copy, key, cJSON_Duplicate(item, true));
	}
	if (product == PRODUCT_PGAS && dialect == DIALECT_DIGIFLAZZ)
		add_usage(document);
	text = cJSON_PrintUnformatted(document);
	cJSON_Delete(document);
	return text;
}

/*
 * Make the texts of one sample.  Takes marks into data.
 */
static void
make_sample(Sample *sample, cJSON *data, Product product, bool malaysian)
{
	int			dialect;

	sample->price = hundredths(data, "price", malaysian ? MORE_PRICE : 0);
	sample->balance = hundredths(data, "balance", malaysian ? MORE_BALANCE : 0);
	if (malaysian)
		make_malaysian(data);
	sample->sn = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(data, "sn"));
	put(data, "ref_id", cJSON_CreateRaw(MARK_REF_ID));
	put(data, "customer_no", cJSON_CreateRaw(MARK_CUSTOMER_NO));
	put(data, "code", cJSON_CreateRaw(MARK_CODE));
	put(data, "balance", cJSON_CreateRaw(MARK_BALANCE));
	put(data, "sn", cJSON_CreateRaw(MARK_SN));
	for (dialect = 0; dialect < DIALECT_COUNT; dialect++)
		sample->text[dialect] = print_in_dialect(data, product, (DialectNumber) dialect);
}

/*
 * Read the samples of a directory; false, with a word on stderr, when one is
 * missing or is no sample.
 */
bool
sample_load(const char *directory)
{
	int			product;

	for (product = 0; product < PRODUCT_COUNT; product++)
	{
		Buffer		path = {0};
		cJSON	   *document;
		int			which;

		buffer_printf(&path, "%s/%s%s.json", directory,
					  product_has_sample((Product) product) ? "" : "documented/",
					  product_name((Product) product));
		document = read_sample(path.data);
		buffer_free(&path);
		if (document == NULL)
			return false;
		for (which = 0; which < MOST_BILLS * 2; which++)
		{
			int			bills = 1 + which / 2;
			bool		malaysian = which % 2;
			cJSON	   *copy = cJSON_Duplicate(document, true);
			cJSON	   *data = cJSON_GetObjectItemCaseSensitive(copy, "data");

			if (bills == 2 && (product == PRODUCT_PLN || product == PRODUCT_PGAS))
				make_two_bills(data, (Product) product);
			make_sample(&samples[product][bills - 1][malaysian], data, (Product) product,
						malaysian);
			cJSON_Delete(copy);
		}
		cJSON_Delete(document);
	}
	return true;
}

/*
 * What a bill takes from our deposit, in hundredths.
 */
long long
sample_price(Product product, int bills, bool malaysian)
{
	return samples[product][bills - 1][malaysian].price;
}

/*
 * Append the success reply.
 */
void
sample_reply(Buffer *reply, DialectNumber dialect, Product product, int bills,
			 const SampleFill *fill)
{
	const Sample *sample = &samples[product][bills - 1][fill->malaysian];
	const char *text = sample->text[dialect];

	for (;;)
	{
		size_t		length = strcspn(text, "\x01\x02\x03\x04\x05");

		buffer_add(reply, text, length);
		text += length;
		switch (*text++)
		{
			case 1:
				buffer_add_json(reply, fill->ref_id);
				break;
			case 2:
				buffer_add_json(reply, fill->customer_no);
				break;
			case 3:
				buffer_add_json(reply, fill->code);
				break;
			case 4:
				buffer_add_amount(reply, fill->balance ? *fill->balance : sample->balance);
				break;
			case 5:
				buffer_add_text(reply, fill->without_sn ? "\"\"" : sample->sn);
				break;
			default:
				return;
		}
	}
}
