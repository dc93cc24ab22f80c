/*
 * dialect.h
 *		The two spellings of one API.
 */
#ifndef DIALECT_H
#define DIALECT_H

typedef enum DialectNumber
{
	DIALECT_DIGISWITCH,
	DIALECT_DIGIFLAZZ,
	DIALECT_COUNT
} DialectNumber;

/* The keys in which the dialects differ */
typedef struct Dialect
{
	const char *command;
	const char *code;
	const char *name;
	const char *balance;
} Dialect;

/* in sample.c */
extern const Dialect dialects[DIALECT_COUNT];

#endif							/* DIALECT_H */
