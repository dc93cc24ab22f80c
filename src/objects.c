/*-------------------------------------------------------------------------
 *
 * objects.c
 *	  Where the extension's objects are in this database.
 *
 * Looked up once and kept until a catalog change may have moved them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "objects.h"

static DpObjects objects;
static bool objects_known = false;

/* A relation changed: if it is one of ours, or all may have, look again. */
static void
on_relation_change(Datum arg, Oid relation)
{
	if (relation == InvalidOid || relation == objects.payment ||
		relation == objects.fence ||
		relation == objects.inquiry)
		objects_known = false;
}

/* The extension's row: its oid and schema, and its version when asked for. */
static bool
find_extension(Oid *extension, Oid *schema, char **version)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("digipay"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);
		bool		isnull;

		*extension = form->oid;
		*schema = form->extnamespace;
		if (version != NULL)
			*version = TextDatumGetCString(heap_getattr(tuple, Anum_pg_extension_extversion,
														RelationGetDescr(extensions), &isnull));
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return found;
}

/*
 * The extension's objects, or NULL if it is not installed (any more).  Must be
 * called in a transaction.
 */
const DpObjects *
dp_objects(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
		registered = true;
	}
	if (objects_known)
		return &objects;
	if (!find_extension(&objects.extension, &objects.schema, NULL))
		return NULL;
	objects.payment = get_relname_relid("digipay_payment", objects.schema);
	objects.payment_by_account = get_relname_relid("digipay_payment_account_ref_id_key",
												   objects.schema);
	objects.fence = get_relname_relid("digipay_fence", objects.schema);
	objects.inquiry = get_relname_relid("digipay_inquiry", objects.schema);
	objects.inquiry_by_server = get_relname_relid("digipay_inquiry_pkey", objects.schema);
	objects_known = OidIsValid(objects.payment) && OidIsValid(objects.payment_by_account) &&
		OidIsValid(objects.fence) && OidIsValid(objects.inquiry) && OidIsValid(objects.inquiry_by_server);
	return objects_known ? &objects : NULL;
}

/* The version that CREATE or ALTER EXTENSION installed, NULL if none did. */
char *
dp_extension_version(void)
{
	Oid			extension;
	Oid			schema;
	char	   *version = NULL;

	(void) find_extension(&extension, &schema, &version);
	return version;
}
