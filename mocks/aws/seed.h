/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the seed of the mock AWS
 *
 * One JSON object. Optional keys carry their default; all ids may be left out and are then made up, always the same
 * ones.
 *
 *   "account": "111122223333", "region": "us-west-2", "random": 1 (of ids and addresses), "nic_quota": 5000
 *   "vpc": {"id"?, "cidrs": ["10.0.0.0/16", ...], "cidr6"?: "2600:1f14:aa:bb00::/56", "tags"?: {K: V}}
 *   "subnets": [{"id"?, "cidr": "10.0.1.0/24", "az": "us-west-2a", "az_id"?: "usw2-az1", "cidr6"?: a /64, "tags"?,
 *                "used"?: ["10.0.1.7", "10.0.1.64/28"]     what others of the account hold
 *                "reservations"?: [{"cidr", "type": "prefix" or "explicit"}]}]
 *   "security_groups"?: [{"id"?, "name": "nodes", "tags"?}]   the first is the default group; "default" when absent
 *   "credentials"?: [{"access_key", "secret", "session_token"?, "expires_in_s"?}]
 *   "role"?: {"name": "berth-node", "lifetime_s": 21600, "access_key"?, "secret"?, "session_token"?}
 *                what metadata hands out; a new set is minted when a quarter of the lifetime, at most 300 s, is left
 *   "web_identities"?: [{"role_arn", "token", "expires_in_s"?, "max_session_s": 3600}]   what STS changes for what
 *   "agent"?: {"path": "/v1/credentials", "authorization"?, "lifetime_s": 21600}
 *                hands out credentials to containers, on the metadata listeners; rotated as those of the role
 *   "instances": [{"name": "n1", "id"?, "type": "m5.large", "subnet": id or index, "az"?, "primary"?: "10.0.1.10",
 *                  "mac"?, "nic"?: id of the primary NIC, "public": false, "addresses"?: ["10.0.1.11", "10.0.1.32/28"], "tags"?}]
 *   "nics"?: [{"instance"?: "n1", "type"?: "trunk", "managed"?, "operator"?, "tags"?, ...}]   of somebody else
 *                (mocks/aws/others.h); made after the instances, and older than any lag
 *   "instance_types"?: [{"name", "nics", "addresses", "cards": 1, "vcpus": 2, "hypervisor": "nitro", "arch": "x86_64"}]
 *   "timings"?: {"create_ms": 0, "attach_ms": 0, "detach_ms": 0, "imds_lag_ms": 0, "describe_lag_ms": 0,
 *                "call_ms": N or {ACTION or "*": N}}
 *   "throttle"?: {"enabled": true, "buckets"?: {ACTION: {"burst": N, "per_s": N}}}
 *   "paging"?: {"short": false}   pages that hold half of what was asked for, and every second one nothing
 *   "skew": "RequestExpired" or "AuthFailure"   the answer to a signature whose time is off by more than 5 min
 */
#ifndef MOCKS_AWS_SEED_H
#define MOCKS_AWS_SEED_H

#include <stdint.h>

struct aws_model;
struct err;
struct json_t;
struct throttle;

/** aws_seed_load() - fill an empty model; net ops, when wanted, must be set before. @wall_us: now. Errors: PROTOCOL. */
int aws_seed_load(struct aws_model *model, struct throttle *throttle, const struct json_t *seed, int64_t wall_us,
		  struct err *err);
/** aws_seed_timings() - take over those keys of "timings" that are there. Errors: PROTOCOL. */
int aws_seed_timings(struct aws_model *model, const struct json_t *timings, struct err *err);

#endif
