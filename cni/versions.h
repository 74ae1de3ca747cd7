/* SPDX-License-Identifier: Apache-2.0 */
/* The versions of the CNI specification that are spoken here. */
#ifndef CNI_VERSIONS_H
#define CNI_VERSIONS_H

/* In rising order, so that "since" is a comparison. 0.1.0 and 0.2.0 have another result and no living runtime. */
enum cni_version { CNI_0_3_0, CNI_0_3_1, CNI_0_4_0, CNI_1_0_0, CNI_1_1_0, CNI_VERSION_COUNT };

#define CNI_VERSION_NEWEST CNI_1_1_0
#define CNI_VERSIONS_TEXT  "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0" /* for messages */

/** cni_version_name() - "1.1.0" and the like. */
const char *cni_version_name(enum cni_version version);

/** cni_version_parse() - Return: 0 or -EINVAL for one that is not spoken. */
int cni_version_parse(const char *text, enum cni_version *ret);

#endif
