SUMMARY = "A gateway of the Spoke.Zone cloud: its agent and what the agent wants"
LICENSE = "Apache-2.0"

inherit packagegroup

RDEPENDS:${PN} = "spoke-zone-agent ca-certificates"
RRECOMMENDS:${PN} = "tzdata"
