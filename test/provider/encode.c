/*
 * encode.c
 *		The signature, and base64.  The only user of nettle.
 */
#include <stdlib.h>
#include <string.h>

#include <nettle/base16.h>
#include <nettle/base64.h>
#include <nettle/md5.h>

#include "encode.h"

/*
 * Lower-case hexadecimal md5(username + api_key + suffix); the suffix is the
 * ref_id of a transaction, "depo" for the balance.
 */
void
sign(const char *username, const char *api_key, const char *suffix,
	 char signature[SIGNATURE_LENGTH + 1])
{
	struct md5_ctx context;
	uint8_t		digest[MD5_DIGEST_SIZE];

	md5_init(&context);
	md5_update(&context, strlen(username), (const uint8_t *) username);
	md5_update(&context, strlen(api_key), (const uint8_t *) api_key);
	md5_update(&context, strlen(suffix), (const uint8_t *) suffix);
	md5_digest(&context, sizeof(digest), digest);
	base16_encode_update(signature, sizeof(digest), digest);
	signature[SIGNATURE_LENGTH] = '\0';
}

/*
 * Append what the base64 text stands for; false when it is not base64.
 */
bool
base64_add(Buffer *buffer, const char *text)
{
	struct base64_decode_ctx context;
	size_t		length = BASE64_DECODE_LENGTH(strlen(text));
	uint8_t    *bytes = must_alloc(length);
	bool		valid;

	base64_decode_init(&context);
	valid = base64_decode_update(&context, &length, bytes, strlen(text), text) &&
		base64_decode_final(&context);
	if (valid)
		buffer_add(buffer, bytes, length);
	free(bytes);
	return valid;
}
