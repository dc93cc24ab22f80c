/*-------------------------------------------------------------------------
 *
 * charset.c
 *	  From the provider's UTF-8 to what this database can hold.
 *
 * A database in LATIN1 or SQL_ASCII cannot hold all that a provider may send,
 * and finds that out after the money has moved.  So nothing here raises: what
 * cannot be held is reported as such.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "charset.h"

/*
 * The text in the database's encoding, or NULL if it cannot be represented.
 * The text must be valid UTF-8.  Must be called in a transaction, since the
 * conversion is looked up in the catalogs.
 */
char *
dp_from_utf8(const char *text)
{
	int			encoding = GetDatabaseEncoding();
	int			len = strlen(text);
	Oid			proc;
	unsigned char *converted;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return pstrdup(text);
	proc = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(proc) || len > (int) (MaxAllocSize / MAX_CONVERSION_GROWTH) - 1)
		return NULL;
	converted = palloc(len * MAX_CONVERSION_GROWTH + 1);
	if (pg_do_encoding_conversion_buf(proc, PG_UTF8, encoding,
									  (unsigned char *) unconstify(char *, text), len,
									  converted, len * MAX_CONVERSION_GROWTH + 1,
									  true) < len)
	{
		pfree(converted);
		return NULL;
	}
	return (char *) converted;
}

/*
 * The JSON text, given in UTF-8, as jsonb.  False if this database cannot hold
 * it: characters that its encoding lacks, a number beyond numeric, a string
 * beyond jsonb's limits.
 *
 * jsonb's input function touches neither catalogs nor locks, so its error can
 * be caught without a subtransaction.
 */
bool
dp_json_to_jsonb(const char *text, Datum *jsonb)
{
	char	   *converted = dp_from_utf8(text);
	MemoryContext context = CurrentMemoryContext;
	volatile bool good = false;

	if (converted == NULL)
		return false;
	PG_TRY();
	{
		*jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(converted));
		good = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	pfree(converted);
	return good;
}

/* The value of a key of a jsonb object; (Datum) 0 where it has none. */
Datum
dp_jsonb_field(Datum jsonb, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&DatumGetJsonbP(jsonb)->root,
													 key, strlen(key), NULL);

	return value != NULL ? JsonbPGetDatum(JsonbValueToJsonb(value)) : (Datum) 0;
}
