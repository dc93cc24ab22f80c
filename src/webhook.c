/*-------------------------------------------------------------------------
 *
 * webhook.c
 *	  A session's side of a call-back: is it the provider's?
 *
 * The provider signs the raw body with HMAC-SHA1 and the secret that both sides
 * know.  PostgreSQL has that in src/common; what is compared is compared in
 * constant time, so that nobody can find the signature byte by byte.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hmac.h"
#include "common/sha1.h"

#include "credential.h"
#include "problem.h"
#include "webhook.h"

/* The value of a hex digit, -1 if it is none. */
static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Read a signature, "sha1=" and 40 hex digits; false if it is not one. */
static bool
read_signature(const char *text, uint8 *signature)
{
	if (strncmp(text, "sha1=", 5) == 0)
		text += 5;
	if (strlen(text) != 2 * SHA1_DIGEST_LENGTH)
		return false;
	for (int i = 0; i < SHA1_DIGEST_LENGTH; i++)
	{
		int			high = hex_digit(text[2 * i]);
		int			low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		signature[i] = (uint8) (high << 4 | low);
	}
	return true;
}

/* HMAC-SHA1; false where the server's OpenSSL refuses it. */
static bool
hmac_sha1(const char *key, const char *data, size_t len, uint8 *result)
{
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA1);
	bool		done;

	if (ctx == NULL)
		return false;
	done = pg_hmac_init(ctx, (const uint8 *) key, strlen(key)) >= 0 &&
		pg_hmac_update(ctx, (const uint8 *) data, len) >= 0 &&
		pg_hmac_final(ctx, result, SHA1_DIGEST_LENGTH) >= 0;
	pg_hmac_free(ctx);
	return done;
}

/* Compare without telling by the time it takes where they differ. */
static bool
same_bytes(const uint8 *a, const uint8 *b, int len)
{
	volatile uint8 difference = 0;

	for (int i = 0; i < len; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

/*
 * Has the provider signed this body?  Raises where the server has no secret to
 * hold it against.
 */
bool
dp_webhook_is_signed(Oid server, const char *body, size_t len, const char *signature)
{
	uint8		given[SHA1_DIGEST_LENGTH];
	uint8		right[SHA1_DIGEST_LENGTH];
	DpProblem	problem;
	char	   *secret = dp_webhook_secret(server, &problem);
	bool		done;

	if (secret == NULL)
		dp_problem_raise(&problem);
	done = hmac_sha1(secret, body, len, right);
	explicit_bzero(secret, strlen(secret));
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("could not check the signature"),
				 errhint("It needs SHA-1; allow it in the OpenSSL configuration of the server.")));
	return read_signature(signature, given) &&
		same_bytes(given, right, SHA1_DIGEST_LENGTH);
}
