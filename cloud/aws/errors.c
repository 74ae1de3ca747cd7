/* SPDX-License-Identifier: Apache-2.0 */
#include "errors.h"

#include <string.h>

#include "berth/str.h"

#define PARAMETER  "InvalidParameterValue"
#define SLOT_TAKEN "already has an interface attached at device index"
#define IN_USE     "is currently in use"
#define ADDR_TAKEN "already assigned"
#define TOO_FEW    "There aren't sufficient free" /* "Ipv4 addresses or prefixes" */

static const struct ec2_error_row rows[] = {
	/* Too fast. */
	{ "RequestLimitExceeded", NULL, ERR_THROTTLED },
	{ "EC2ThrottledException", NULL, ERR_THROTTLED },
	{ "Throttling", NULL, ERR_THROTTLED },
	{ "ThrottlingException", NULL, ERR_THROTTLED },
	{ "RequestThrottled", NULL, ERR_THROTTLED },
	{ "RequestThrottledException", NULL, ERR_THROTTLED },
	{ "ThrottledException", NULL, ERR_THROTTLED },
	{ "TooManyRequestsException", NULL, ERR_THROTTLED },
	{ "SlowDown", NULL, ERR_THROTTLED },
	{ "BandwidthLimitExceeded", NULL, ERR_THROTTLED },

	/* The server's fault; nobody says whether it was done. */
	{ "InternalError", NULL, ERR_AMBIGUOUS },
	{ "InternalFailure", NULL, ERR_AMBIGUOUS },
	{ "Unavailable", NULL, ERR_AMBIGUOUS },
	{ "ServiceUnavailable", NULL, ERR_AMBIGUOUS },
	{ "RequestTimeout", NULL, ERR_AMBIGUOUS },
	{ "RequestTimeoutException", NULL, ERR_AMBIGUOUS },
	{ "PriorRequestNotComplete", NULL, ERR_RETRY },

	/* No room. */
	{ "InsufficientFreeAddressesInSubnet", NULL, ERR_EXHAUSTED },
	{ "InsufficientCidrBlocks", NULL, ERR_EXHAUSTED },
	{ PARAMETER, TOO_FEW, ERR_EXHAUSTED },
	{ "AttachmentLimitExceeded", NULL, ERR_EXHAUSTED },
	{ "NetworkInterfaceLimitExceeded", NULL, ERR_EXHAUSTED },

	/* Our view is stale. */
	{ "PrivateIpAddressLimitExceeded", NULL, ERR_CONFLICT },
	{ PARAMETER, SLOT_TAKEN, ERR_CONFLICT },
	{ PARAMETER, IN_USE, ERR_RETRY }, /* deleting while the detach is still under way */
	{ PARAMETER, ADDR_TAKEN, ERR_CONFLICT },
	{ "InvalidNetworkInterface.InUse", NULL, ERR_CONFLICT },
	{ "InvalidIPAddress.InUse", NULL, ERR_CONFLICT },
	{ "IncorrectState", NULL, ERR_CONFLICT },
	{ "IncorrectInstanceState", NULL, ERR_CONFLICT },
	{ "IdempotentParameterMismatch", NULL, ERR_CONFLICT },

	/* Not there. */
	{ "InvalidNetworkInterfaceID.NotFound", NULL, ERR_NOTFOUND },
	{ "InvalidAttachmentID.NotFound", NULL, ERR_NOTFOUND },
	{ "InvalidInstanceID.NotFound", NULL, ERR_NOTFOUND },
	{ "InvalidSubnetID.NotFound", NULL, ERR_NOTFOUND },
	{ "InvalidGroup.NotFound", NULL, ERR_NOTFOUND },
	{ "InvalidSecurityGroupID.NotFound", NULL, ERR_NOTFOUND },
	{ "InvalidVpcID.NotFound", NULL, ERR_NOTFOUND },
	{ "*.NotFound", NULL, ERR_NOTFOUND },

	/* Credentials, clock, permissions. */
	{ "UnauthorizedOperation", NULL, ERR_AUTH },
	{ "AuthFailure", NULL, ERR_AUTH },
	{ "RequestExpired", NULL, ERR_AUTH },
	{ "ExpiredToken", NULL, ERR_AUTH },
	{ "ExpiredTokenException", NULL, ERR_AUTH },
	{ "SignatureDoesNotMatch", NULL, ERR_AUTH },
	{ "InvalidSignatureException", NULL, ERR_AUTH },
	{ "InvalidClientTokenId", NULL, ERR_AUTH },
	{ "MissingAuthenticationToken", NULL, ERR_AUTH },
	{ "OptInRequired", NULL, ERR_AUTH },
	{ "RequestInTheFuture", NULL, ERR_AUTH },
	{ "RequestTimeTooSkewed", NULL, ERR_AUTH },
	{ "AccessDenied", NULL, ERR_AUTH },
	{ "AccessDeniedException", NULL, ERR_AUTH },

	/* STS, and the agent of EKS Pod Identity. */
	{ "InvalidIdentityToken", NULL, ERR_AUTH },
	{ "InvalidTokenException", NULL, ERR_AUTH },
	{ "IDPRejectedClaim", NULL, ERR_AUTH },
	{ "RegionDisabledException", NULL, ERR_AUTH },
	{ "ResourceNotFoundException", NULL, ERR_AUTH }, /* nobody gave this service account a role */
	{ "IDPCommunicationError", NULL, ERR_RETRY },    /* botocore's _retry.json: the one that sts repeats */
	{ "ServiceUnavailableException", NULL, ERR_RETRY },
	{ "InternalServerException", NULL, ERR_RETRY },
	{ "ValidationError", NULL, ERR_INVALID },

	/* What was asked for cannot be had. */
	{ "OperationNotPermitted", NULL, ERR_INVALID },
	{ PARAMETER, NULL, ERR_INVALID },
	{ "InvalidInstanceType", NULL, ERR_INVALID },
	{ "SecurityGroupsPerInterfaceLimitExceeded", NULL, ERR_INVALID },
	{ "TagLimitExceeded", NULL, ERR_INVALID },
	{ "FilterLimitExceeded", NULL, ERR_INVALID },
	{ "InvalidSubnet.Range", NULL, ERR_INVALID },
	{ "Unsupported", NULL, ERR_INVALID },
	{ "UnsupportedOperation", NULL, ERR_INVALID },
	{ "InvalidNetworkInterfaceId.Malformed", NULL, ERR_INVALID },
	{ "InvalidNetworkInterfaceID.Malformed", NULL, ERR_INVALID },
	{ "*.Malformed", NULL, ERR_INVALID },

	/* We asked in the wrong words. */
	{ "InvalidParameterCombination", NULL, ERR_BUG },
	{ "InvalidParameter", NULL, ERR_BUG },
	{ "MissingParameter", NULL, ERR_BUG },
	{ "UnknownParameter", NULL, ERR_BUG },
	{ "InvalidAction", NULL, ERR_BUG },
	{ "NoSuchVersion", NULL, ERR_BUG },
	{ "MalformedQueryString", NULL, ERR_BUG },
	{ "IncompleteSignature", NULL, ERR_BUG },
	{ "DryRunOperation", NULL, ERR_BUG }, /* we never ask for a dry run */
};

const struct ec2_error_row *ec2_error_rows(size_t *count)
{
	*count = ARRAY_SIZE(rows);
	return rows;
}

static bool ident_fits(const char *pattern, const char *ident)
{
	size_t pattern_len, ident_len;

	if (pattern[0] != '*')
		return strcmp(pattern, ident) == 0;
	pattern_len = strlen(pattern + 1);
	ident_len = strlen(ident);
	return ident_len > pattern_len && strcmp(ident + ident_len - pattern_len, pattern + 1) == 0;
}

static enum err_class by_status(unsigned status)
{
	if (status == 429)
		return ERR_THROTTLED;
	if (status == 401 || status == 403)
		return ERR_AUTH;
	if (status == 408 || (status >= 500 && status <= 599))
		return ERR_AMBIGUOUS;
	if (status == 400)
		return ERR_INVALID;
	return ERR_PROTOCOL;
}

enum err_class ec2_classify(unsigned status, const char *ident, const char *message)
{
	for (size_t i = 0; ident[0] && i < ARRAY_SIZE(rows); i++) {
		if (ident_fits(rows[i].ident, ident) && (!rows[i].message || strstr(message, rows[i].message)))
			return rows[i].class;
	}
	return by_status(status);
}

bool ec2_is_clock_word(const char *ident)
{
	static const char *const words[] = {
		"AuthFailure",        "RequestExpired",       "SignatureDoesNotMatch",
		"RequestInTheFuture", "RequestTimeTooSkewed", "InvalidSignatureException",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (str_equal(words[i], ident))
			return true;
	}
	return false;
}

bool ec2_is_denied(const char *ident)
{
	return str_equal(ident, "UnauthorizedOperation") || str_equal(ident, "AccessDenied") ||
	       str_equal(ident, "AccessDeniedException") || str_equal(ident, "OptInRequired");
}

bool ec2_is_slot_taken(const struct err *err)
{
	return str_equal(err->ident, PARAMETER) && strstr(err->msg, SLOT_TAKEN);
}

bool ec2_is_addr_taken(const struct err *err)
{
	return str_equal(err->ident, "InvalidIPAddress.InUse") ||
	       (str_equal(err->ident, PARAMETER) && strstr(err->msg, ADDR_TAKEN));
}

bool ec2_is_subnet_short(const struct err *err)
{
	return str_equal(err->ident, "InsufficientFreeAddressesInSubnet") ||
	       str_equal(err->ident, "InsufficientCidrBlocks") ||
	       (str_equal(err->ident, PARAMETER) && strstr(err->msg, TOO_FEW));
}

bool ec2_is_in_use(const struct err *err)
{
	return str_equal(err->ident, PARAMETER) && strstr(err->msg, IN_USE);
}
