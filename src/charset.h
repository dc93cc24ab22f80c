/*
 * charset.h
 *	  From the provider's UTF-8 to what this database can hold.
 */
#ifndef DIGIPAY_CHARSET_H
#define DIGIPAY_CHARSET_H

extern char *dp_from_utf8(const char *text);
extern bool dp_json_to_jsonb(const char *text, Datum *jsonb);
extern Datum dp_jsonb_field(Datum jsonb, const char *key);

#endif							/* DIGIPAY_CHARSET_H */
