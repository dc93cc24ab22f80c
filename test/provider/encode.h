/*
 * encode.h
 *		The signature, and base64.
 */
#ifndef ENCODE_H
#define ENCODE_H

#include <stdbool.h>

#include "buffer.h"

#define SIGNATURE_LENGTH 32

extern void sign(const char *username, const char *api_key, const char *suffix,
				 char signature[SIGNATURE_LENGTH + 1]);
extern bool base64_add(Buffer *buffer, const char *text);

#endif							/* ENCODE_H */
