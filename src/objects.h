/*
 * objects.h
 *	  Where the extension's objects are in this database.
 */
#ifndef DIGIPAY_OBJECTS_H
#define DIGIPAY_OBJECTS_H

typedef struct DpObjects
{
	Oid			extension;
	Oid			schema;
	Oid			payment;		/* the journal */
	Oid			payment_by_account; /* its unique index (account, ref_id) */
	Oid			fence;
	Oid			inquiry;
	Oid			inquiry_by_server;	/* its primary key (server, ref_id) */
} DpObjects;

extern const DpObjects *dp_objects(void);
extern char *dp_extension_version(void);

#endif							/* DIGIPAY_OBJECTS_H */
