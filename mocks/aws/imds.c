/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what metadata knows and when
 *
 * With imds_lag_ms L, a NIC that was attached at T shows up bit by bit: from T + L/2 its MAC is listed, and its
 * device-number reads 0; from T + 3L/4 the other keys are there; from T + L the device number is right. Addresses that
 * were assigned or taken away show after L. A detached NIC stays for L. Real services do all of that, up to 30 s.
 *
 * The tree is a table of names and functions for what an instance has one of, and another for what a NIC has. A
 * function that writes nothing means 404.
 */
#include "imds.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "../httpd.h"
#include "berth/clock.h"
#include "xml.h"

#define TOKEN_PATH "/latest/api/token"
#define TTL_HEADER "X-aws-ec2-metadata-token-ttl-seconds"
#define SECRET     "X-aws-ec2-metadata-token"
#define BASE64     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

struct ask {
	struct aws_model *model;
	const struct aws_instance *instance;
	int64_t now_us, wall_us;
	struct strbuf *out;
};

/* ---- errors ---- */

static void refuse(struct httpd_reply *reply, unsigned status, const char *title)
{
	strbuf_clear(&reply->body);
	strbuf_printf(&reply->body,
		      "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n"
		      "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n"
		      "\t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n"
		      "<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n"
		      " <head>\n  <title>%u - %s</title>\n </head>\n <body>\n  <h1>%u - %s</h1>\n </body>\n</html>\n",
		      status, title, status, title);
	reply->status = status;
	reply->header_count = 0;
	httpd_reply_header(reply, "Content-Type", "text/html");
}

/* ---- tokens ---- */

static void token_put(struct imds *imds, struct aws_model *model, const struct aws_instance *instance,
		      const struct httpd_request *request, int64_t now_us, struct httpd_reply *reply)
{
	const char *ttl = httpd_header(request, TTL_HEADER);
	struct imds_token *token = &imds->tokens[imds->next];
	uint64_t ttl_s;

	if (!ttl || str_u64(ttl, 1, IMDS_TTL_MAX_S, &ttl_s) < 0) {
		refuse(reply, 400, "Bad Request");
		return;
	}
	imds->next = (imds->next + 1) % IMDS_TOKENS_MAX;
	prng_chars(&model->prng, BASE64, 64, token->text, IMDS_TOKEN_LEN - 3);
	memcpy(token->text + IMDS_TOKEN_LEN - 3, "==", 3);
	token->instance = instance;
	token->until_us = now_us + (int64_t)ttl_s * USEC_PER_SEC;
	strbuf_add(&reply->body, token->text);
	httpd_reply_header(reply, TTL_HEADER, ttl);
}

static bool token_valid(const struct imds *imds, const struct aws_instance *instance, const char *text, int64_t now_us)
{
	if (!text || !*text)
		return false;
	for (unsigned i = 0; i < IMDS_TOKENS_MAX; i++)
		if (str_equal(imds->tokens[i].text, text))
			return imds->tokens[i].instance == instance && imds->tokens[i].until_us > now_us;
	return false;
}

/* ---- one NIC ---- */

static int64_t lag_us(const struct ask *ask)
{
	return ask->model->timings.imds_lag_ms * USEC_PER_MSEC;
}

/* Is the NIC attached, in the eyes of somebody who is @lag behind? */
static const struct aws_face *attached(const struct ask *ask, const struct aws_nic *nic, int64_t lag)
{
	const struct aws_face *face = aws_view(nic, ask->now_us, lag);
	bool in_use = face && (face->status == AWS_NIC_IN_USE || face->status == AWS_NIC_DETACHING);

	return in_use && face->instance == ask->instance ? face : NULL;
}

/* Listed from L/2 after attach until L after detach. */
static bool listed(const struct ask *ask, const struct aws_nic *nic)
{
	return attached(ask, nic, lag_us(ask) / 2) || attached(ask, nic, lag_us(ask));
}

struct nic_ask {
	const struct ask *ask;
	const struct aws_nic *nic;
	const struct aws_face *face; /* for values that lag; never NULL */
	bool early;                  /* the full lag has not passed since attach */
};

static void add_line(struct strbuf *out, const char *text)
{
	strbuf_printf(out, "%s%s", out->len ? "\n" : "", text);
}

static void put_addrs(struct strbuf *out, const struct aws_units *units)
{
	char text[IPADDR_STRLEN];

	for (unsigned i = 0; i < units->addr_count; i++)
		add_line(out, ipaddr_str(&units->addrs[i], text));
}

static void put_prefixes(struct strbuf *out, const struct aws_units *units)
{
	char text[PREFIX_STRLEN];

	for (unsigned i = 0; i < units->prefix_count; i++)
		add_line(out, prefix_str(&units->prefixes[i], text));
}

static void put_prefix(struct strbuf *out, const struct prefix *prefix)
{
	char text[PREFIX_STRLEN];

	if (prefix->addr.family != IP_NONE)
		add_line(out, prefix_str(prefix, text));
}

static void nic_device(const struct nic_ask *a, struct strbuf *out)
{
	strbuf_printf(out, "%u", a->early ? 0 : a->face->device);
}

static void nic_id(const struct nic_ask *a, struct strbuf *out)
{
	strbuf_add(out, a->nic->id);
}

static void nic_local_ipv4s(const struct nic_ask *a, struct strbuf *out)
{
	put_addrs(out, &a->face->v4);
}

static void nic_prefixes4(const struct nic_ask *a, struct strbuf *out)
{
	put_prefixes(out, &a->face->v4);
}

static void nic_ipv6s(const struct nic_ask *a, struct strbuf *out)
{
	put_addrs(out, &a->face->v6);
}

static void nic_prefixes6(const struct nic_ask *a, struct strbuf *out)
{
	put_prefixes(out, &a->face->v6);
}

static void nic_hostname(const struct nic_ask *a, struct strbuf *out)
{
	char text[AWS_NAME_LEN];
	const struct ipaddr *addr = &a->face->v4.addrs[0];

	(void)snprintf(text, sizeof(text), "ip-%u-%u-%u-%u.%s.compute.internal", addr->bytes[0], addr->bytes[1],
		       addr->bytes[2], addr->bytes[3], a->ask->model->region);
	strbuf_add(out, text);
}

static void nic_mac(const struct nic_ask *a, struct strbuf *out)
{
	char text[MACADDR_STRLEN];

	strbuf_add(out, macaddr_str(&a->nic->mac, text));
}

static void nic_owner(const struct nic_ask *a, struct strbuf *out)
{
	strbuf_add(out, a->ask->model->account);
}

static void nic_public(const struct nic_ask *a, struct strbuf *out)
{
	char text[IPADDR_STRLEN];

	if (a->face->device == 0 && a->ask->instance->public)
		strbuf_add(out, ipaddr_str(&a->ask->instance->public_ip, text));
}

static void nic_groups(const struct nic_ask *a, struct strbuf *out)
{
	for (unsigned i = 0; i < a->face->group_count; i++)
		add_line(out, a->face->groups[i]->name);
}

static void nic_group_ids(const struct nic_ask *a, struct strbuf *out)
{
	for (unsigned i = 0; i < a->face->group_count; i++)
		add_line(out, a->face->groups[i]->id);
}

static void nic_subnet(const struct nic_ask *a, struct strbuf *out)
{
	strbuf_add(out, a->nic->subnet->id);
}

static void nic_subnet_cidr(const struct nic_ask *a, struct strbuf *out)
{
	put_prefix(out, &a->nic->subnet->cidr);
}

static void nic_subnet_cidr6(const struct nic_ask *a, struct strbuf *out)
{
	put_prefix(out, &a->nic->subnet->cidr6);
}

static void nic_vpc(const struct nic_ask *a, struct strbuf *out)
{
	strbuf_add(out, a->ask->model->vpc.id);
}

static void nic_vpc_cidr(const struct nic_ask *a, struct strbuf *out)
{
	put_prefix(out, &a->ask->model->vpc.cidrs[0]);
}

static void nic_vpc_cidrs(const struct nic_ask *a, struct strbuf *out)
{
	for (unsigned i = 0; i < a->ask->model->vpc.cidr_count; i++)
		put_prefix(out, &a->ask->model->vpc.cidrs[i]);
}

static void nic_vpc_cidr6(const struct nic_ask *a, struct strbuf *out)
{
	put_prefix(out, &a->ask->model->vpc.cidr6);
}

/* Only types with more than one card have the key. */
static void nic_card(const struct nic_ask *a, struct strbuf *out)
{
	if (a->ask->instance->type->cards > 1)
		strbuf_printf(out, "%u", a->early ? 0 : a->face->card);
}

static const struct {
	const char *name;
	void (*put)(const struct nic_ask *a, struct strbuf *out);
} nic_keys[] = {
	{ "device-number", nic_device },
	{ "interface-id", nic_id },
	{ "ipv4-prefix", nic_prefixes4 },
	{ "ipv6-prefix", nic_prefixes6 },
	{ "ipv6s", nic_ipv6s },
	{ "local-hostname", nic_hostname },
	{ "local-ipv4s", nic_local_ipv4s },
	{ "mac", nic_mac },
	{ "network-card", nic_card },
	{ "owner-id", nic_owner },
	{ "public-ipv4s", nic_public },
	{ "security-group-ids", nic_group_ids },
	{ "security-groups", nic_groups },
	{ "subnet-id", nic_subnet },
	{ "subnet-ipv4-cidr-block", nic_subnet_cidr },
	{ "subnet-ipv6-cidr-blocks", nic_subnet_cidr6 },
	{ "vpc-id", nic_vpc },
	{ "vpc-ipv4-cidr-block", nic_vpc_cidr },
	{ "vpc-ipv4-cidr-blocks", nic_vpc_cidrs },
	{ "vpc-ipv6-cidr-blocks", nic_vpc_cidr6 },
};

static bool nic_ask_of(const struct ask *ask, const struct aws_nic *nic, struct nic_ask *ret, bool *ret_young)
{
	const struct aws_face *face = attached(ask, nic, lag_us(ask));

	*ret_young = !face && !attached(ask, nic, lag_us(ask) * 3 / 4);
	*ret = (struct nic_ask){ .ask = ask, .nic = nic, .face = face ? face : &nic->face, .early = !face };
	return listed(ask, nic);
}

static void nic_key(const struct ask *ask, const struct aws_nic *nic, const char *key)
{
	struct nic_ask a;
	bool young;

	if (!nic_ask_of(ask, nic, &a, &young))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(nic_keys); i++) {
		bool first = str_equal(nic_keys[i].name, "device-number") || str_equal(nic_keys[i].name, "mac");

		if (young && !first)
			continue;
		if (*key) {
			if (str_equal(nic_keys[i].name, key))
				nic_keys[i].put(&a, ask->out);
			continue;
		}
		struct strbuf value = { 0 };

		nic_keys[i].put(&a, &value);
		if (value.len)
			add_line(ask->out, nic_keys[i].name);
		strbuf_done(&value);
	}
}

/* network/interfaces/macs/..., @rest behind that, without its last slash */
static void macs(const struct ask *ask, const char *rest)
{
	char text[MACADDR_STRLEN], mac[MACADDR_STRLEN] = "";
	size_t len = strcspn(rest, "/");

	if (len < sizeof(mac))
		memcpy(mac, rest, len);
	mac[len < sizeof(mac) ? len : 0] = '\0';
	for (unsigned i = 0; i < ask->model->nic_count; i++) {
		const struct aws_nic *nic = ask->model->nics[i];

		(void)macaddr_str(&nic->mac, text);
		if (*rest && str_equal(text, mac))
			nic_key(ask, nic, rest[len] == '/' ? rest + len + 1 : "");
		else if (!*rest && listed(ask, nic))
			strbuf_printf(ask->out, "%s%s/", ask->out->len ? "\n" : "", text);
	}
}

/* ---- the instance ---- */

static const struct aws_nic *primary(const struct ask *ask)
{
	return aws_nic_at(ask->model, ask->instance, 0, 0);
}

static void put_instance_id(const struct ask *ask)
{
	strbuf_add(ask->out, ask->instance->id);
}

static void put_type(const struct ask *ask)
{
	strbuf_add(ask->out, ask->instance->type->name);
}

static void put_image(const struct ask *ask)
{
	strbuf_add(ask->out, ask->instance->image);
}

static void put_mac(const struct ask *ask)
{
	char text[MACADDR_STRLEN];

	strbuf_add(ask->out, macaddr_str(&primary(ask)->mac, text));
}

static void put_local_ipv4(const struct ask *ask)
{
	char text[IPADDR_STRLEN];

	strbuf_add(ask->out, ipaddr_str(&primary(ask)->face.v4.addrs[0], text));
}

static void put_ipv6(const struct ask *ask)
{
	const struct aws_units *v6 = &primary(ask)->face.v6;
	char text[IPADDR_STRLEN];

	if (v6->addr_count)
		strbuf_add(ask->out, ipaddr_str(&v6->addrs[0], text));
}

static void put_public_ipv4(const struct ask *ask)
{
	char text[IPADDR_STRLEN];

	if (ask->instance->public)
		strbuf_add(ask->out, ipaddr_str(&ask->instance->public_ip, text));
}

static void put_hostname(const struct ask *ask)
{
	struct nic_ask a = { .ask = ask, .nic = primary(ask), .face = &primary(ask)->face };

	nic_hostname(&a, ask->out);
}

static void put_region(const struct ask *ask)
{
	strbuf_add(ask->out, ask->model->region);
}

static void put_az(const struct ask *ask)
{
	strbuf_add(ask->out, ask->instance->subnet->az);
}

static void put_az_id(const struct ask *ask)
{
	strbuf_add(ask->out, ask->instance->subnet->az_id);
}

static void put_domain(const struct ask *ask)
{
	strbuf_add(ask->out, "amazonaws.com");
}

static void put_partition(const struct ask *ask)
{
	strbuf_add(ask->out, "aws");
}

static void put_iam_info(const struct ask *ask)
{
	char now[32];

	if (!ask->model->role[0])
		return;
	time_text(ask->wall_us, true, now);
	strbuf_printf(ask->out,
		      "{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"%s\",\n  \"InstanceProfileArn\" : "
		      "\"arn:aws:iam::%s:instance-profile/%s\",\n  \"InstanceProfileId\" : \"AIPAMOCK\"\n}",
		      now, ask->model->account, ask->model->role);
}

static void put_role(const struct ask *ask)
{
	strbuf_add(ask->out, ask->model->role);
}

static void put_role_creds(const struct ask *ask)
{
	const struct aws_creds *creds = aws_creds_role(ask->model, ask->wall_us);
	char made[32], expiry[32];

	if (!creds)
		return;
	time_text(creds->made_us, true, made);
	time_text(creds->expiry_us, true, expiry);
	strbuf_printf(ask->out,
		      "{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"%s\",\n  \"Type\" : \"AWS-HMAC\",\n"
		      "  \"AccessKeyId\" : \"%s\",\n  \"SecretAccessKey\" : \"%s\",\n  \"Token\" : \"%s\",\n"
		      "  \"Expiration\" : \"%s\"\n}",
		      made, creds->access_key, creds->secret, creds->token ? creds->token : "", expiry);
}

static const struct {
	const char *path;
	void (*put)(const struct ask *ask);
} keys[] = {
	{ "ami-id", put_image },
	{ "iam/info", put_iam_info },
	{ "iam/security-credentials", put_role },
	{ "instance-id", put_instance_id },
	{ "instance-type", put_type },
	{ "ipv6", put_ipv6 },
	{ "local-hostname", put_hostname },
	{ "local-ipv4", put_local_ipv4 },
	{ "mac", put_mac },
	{ "placement/availability-zone", put_az },
	{ "placement/availability-zone-id", put_az_id },
	{ "placement/region", put_region },
	{ "public-ipv4", put_public_ipv4 },
	{ "services/domain", put_domain },
	{ "services/partition", put_partition },
};

/* The names one level below @path, as a directory shows them. */
static void directory(const struct ask *ask, const char *path)
{
	char last[AWS_NAME_LEN] = "", name[AWS_NAME_LEN];
	size_t len = strlen(path);

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *below = keys[i].path + len + (len ? 1 : 0);

		if (!str_starts(keys[i].path, path) || (len && keys[i].path[len] != '/'))
			continue;
		size_t head = strcspn(below, "/");

		(void)snprintf(name, sizeof(name), "%.*s%s", (int)head, below, below[head] ? "/" : "");
		if (!str_equal(name, last))
			add_line(ask->out, name);
		memcpy(last, name, sizeof(last));
	}
	if (!len)
		add_line(ask->out, "network/");
}

static void meta_data(const struct ask *ask, const char *path)
{
	const char *role = "iam/security-credentials/", *tree = "network/interfaces/macs";

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (str_equal(keys[i].path, path)) {
			keys[i].put(ask);
			return;
		}
	if (str_starts(path, tree) && (path[strlen(tree)] == '/' || !path[strlen(tree)]))
		macs(ask, path[strlen(tree)] ? path + strlen(tree) + 1 : "");
	else if (str_starts(path, role) && ask->model->role[0] && str_equal(path + strlen(role), ask->model->role))
		put_role_creds(ask);
	else if (str_equal(path, "network"))
		strbuf_add(ask->out, "interfaces/");
	else if (str_equal(path, "network/interfaces"))
		strbuf_add(ask->out, "macs/");
	else
		directory(ask, path);
}

static void identity_document(const struct ask *ask)
{
	char now[32], addr[IPADDR_STRLEN];

	time_text(primary(ask)->face.attach_wall_us, true, now);
	strbuf_printf(ask->out,
		      "{\n  \"accountId\" : \"%s\",\n  \"architecture\" : \"%s\",\n  \"availabilityZone\" : \"%s\",\n"
		      "  \"billingProducts\" : null,\n  \"devpayProductCodes\" : null,\n"
		      "  \"marketplaceProductCodes\" : null,\n  \"imageId\" : \"%s\",\n  \"instanceId\" : \"%s\",\n"
		      "  \"instanceType\" : \"%s\",\n  \"kernelId\" : null,\n  \"pendingTime\" : \"%s\",\n"
		      "  \"privateIp\" : \"%s\",\n  \"ramdiskId\" : null,\n  \"region\" : \"%s\",\n"
		      "  \"version\" : \"2017-09-30\"\n}",
		      ask->model->account, ask->instance->type->arch, ask->instance->subnet->az, ask->instance->image,
		      ask->instance->id, ask->instance->type->name, now,
		      ipaddr_str(&primary(ask)->face.v4.addrs[0], addr), ask->model->region);
}

/* ---- requests ---- */

/* "/latest/meta-data/x/" -> "x" in @ret; NULL when the path is not below @base. */
static const char *below(const char *path, const char *base, char *ret, size_t size)
{
	size_t len = strlen(base), end;

	if (!str_starts(path, base) || (path[len] && path[len] != '/'))
		return NULL;
	path += len + (path[len] == '/');
	if (str_copy(ret, size, path) < 0)
		return NULL;
	end = strlen(ret);
	if (end && ret[end - 1] == '/')
		ret[end - 1] = '\0';
	return ret;
}

static void tree(const struct ask *ask, const char *path)
{
	char rest[512];

	if (below(path, "/latest/meta-data", rest, sizeof(rest)))
		meta_data(ask, rest);
	else if (str_equal(path, "/latest/dynamic/instance-identity/document"))
		identity_document(ask);
}

static bool is_token_path(const char *path)
{
	size_t len = strlen(path), tail = strlen("/api/token");

	return len > tail && str_equal(path + len - tail, "/api/token");
}

void imds_serve(struct imds *imds, struct aws_model *model, struct aws_instance *instance,
		const struct httpd_request *request, int64_t now_us, int64_t wall_us, struct httpd_reply *reply)
{
	struct ask ask = {
		.model = model, .instance = instance, .now_us = now_us, .wall_us = wall_us, .out = &reply->body
	};
	bool put = str_equal(request->method, "PUT");

	httpd_reply_header(reply, "Content-Type", "text/plain");
	httpd_reply_header(reply, "Server", "EC2ws");
	if (!instance || !primary(&ask)) {
		refuse(reply, 404, "Not Found");
	} else if (put && httpd_header(request, "X-Forwarded-For")) {
		refuse(reply, 403, "Forbidden");
	} else if (put && str_equal(request->path, TOKEN_PATH)) {
		token_put(imds, model, instance, request, now_us, reply);
	} else if (put) {
		bool versioned = is_token_path(request->path);

		refuse(reply, versioned ? 403 : 405, versioned ? "Forbidden" : "Method Not Allowed");
	} else if (!str_equal(request->method, "GET") && !str_equal(request->method, "HEAD")) {
		refuse(reply, 405, "Method Not Allowed");
	} else if (!token_valid(imds, instance, httpd_header(request, SECRET), now_us)) {
		refuse(reply, 401, "Unauthorized");
	} else {
		tree(&ask, request->path);
		if (!reply->body.len)
			refuse(reply, 404, "Not Found");
	}
}
