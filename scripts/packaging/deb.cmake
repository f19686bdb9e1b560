# The Debian package, by CPack: what is installed, plus what only Debian wants (deb_layout.cmake). scripts/package builds it.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME walferry)
set(CPACK_PACKAGE_CONTACT "walferry maintainers <maintainers@walferry.example>" CACHE STRING "Maintainer field of the package")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "carry a Postgres outbox to Kafka, exactly once")
set(CPACK_PACKAGE_DESCRIPTION
"walferry reads the rows of an outbox table from the Postgres write-ahead log
and publishes them to Kafka, each exactly once. Its progress is stored in
Kafka, in the same transaction as the records it covers, so that a crash at
any moment neither loses nor repeats an event.
.
It is one program with one YAML file for each database, runs as a systemd
service, and needs neither Kafka Connect nor a JVM.")
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX}) # the unit names the program by its full path
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "librdkafka1 (>= 2.0.2)") # the symbols alone would do with an older one
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "kcat, postgresql-client")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  "${CMAKE_CURRENT_LIST_DIR}/postinst;${CMAKE_CURRENT_LIST_DIR}/prerm;${CMAKE_CURRENT_LIST_DIR}/postrm")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/deb_layout.cmake")
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
include(CPack)
